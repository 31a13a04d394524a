"""Planes under and over softmax and its logarithm, on a box of scores.

Every plane is a member of a family whose members are sound one by one; for each output the member with
the best value at the midpoint of the box is taken, that is the one that loses the least volume.
Notation as in `Scores`: `pᵢ = σ(zᵢ)` with `zᵢ = xᵢ − Tᵢ(x)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lirpa_core.linear import Affine
from lirpa_core.rules.relaxations import relative_chord
from lirpa_ops_nlp.softmax.outer import OwnMinusOthers
from lirpa_ops_nlp.softmax.scores import Scores, others
from lirpa_ops_nlp.softmax.support import LOWER, UPPER, sigmoid_line


@dataclass(frozen=True, eq=False)
class Plane:
    """A plane for each output: its value at the midpoint, and the slopes; see `OwnMinusOthers`."""

    value: Tensor
    diagonal: Tensor
    weight: Tensor

    def better(self, other: Plane, side: int) -> Plane:
        """Output by output, the plane with the better value at the midpoint; NaN is never better."""
        take = (other.value > self.value) if side == LOWER else (other.value < self.value)
        take = take & other.diagonal.isfinite() & other.weight.isfinite()
        return Plane(
            torch.where(take, other.value, self.value),
            torch.where(take, other.diagonal, self.diagonal),
            torch.where(take, other.weight, self.weight),
        )

    def anchored(self, scores: Scores, vector: Tensor, fixed: float, absent: Tensor | None = None) -> Affine:
        """The plane as an affine function of the unshifted scores.

        Args:
            scores: The box.
            vector: The shared factor of the outer product.
            fixed: Value of the outputs that are alone.
            absent: Infinities of the outputs that are left out; None: these outputs are zero.
        """
        diagonal, weight = scores.filled(self.diagonal), scores.filled(self.weight)
        op = OwnMinusOthers(diagonal, weight, vector, scores.dim)
        value = torch.where(scores.alone, fixed, scores.filled(self.value))
        return Affine((op,), value - op.apply(scores.origin), absent)


def _limit(x: Tensor) -> float:
    """Exponents that may be multiplied with one another without an overflow."""
    return math.log(torch.finfo(x.dtype).max) / 3


def constant(value: Tensor) -> Plane:
    """The plane without slope."""
    zero = torch.zeros_like(value)
    return Plane(value, zero, zero)


def _mean_of_ends(scores: Scores) -> Tensor:
    """`log` of the sum over the others of the chords of `exp`, at the midpoint."""
    return torch.logaddexp(scores.others_low, scores.others_up) - math.log(2)


def _advantage_below(scores: Scores) -> tuple[Tensor, Tensor]:
    """An affine function below `z`: its value at the midpoint, and the factor `w` of the chords' slopes.

    `T ≤ log s − 1 + Σ_{j≠i} chordⱼ / s` for any `s > 0`; `s` is the sum of the chords at the midpoint, or more
    where that would overflow.
    """
    log_sum = _mean_of_ends(scores)
    log_s = log_sum.clamp(min=-_limit(log_sum))
    value = scores.filled(scores.midpoint) - (log_s - 1 + (log_sum - log_s).exp())
    return value, (-log_s).exp()


def _through_sigmoid(scores: Scores, chords: Tensor) -> Plane:
    """`σ(z) ≥ k z + b`, then `z` from below: the convex envelope of σ in place of an exponential's."""
    low, up = scores.advantage
    value, factor = _advantage_below(scores)
    k, b = sigmoid_line(low, up, value.maximum(low).minimum(up), LOWER)
    return Plane(k * value + b, k, k * factor)


def _through_exponentials(scores: Scores, chords: Tensor) -> Plane:
    """Tangent of the convex `exp(xᵢ) / Σⱼ chordⱼ(xⱼ)` (Wei et al. 2023, the lower LSE bound)."""
    sums = [torch.logsumexp(_safe(e, scores.dim), scores.dim, keepdim=True) for e in (scores.low, scores.up)]
    log_sum = torch.logaddexp(sums[0], sums[1]) - math.log(2)
    value = (scores.filled(scores.midpoint) - log_sum).exp()
    weight = value * (-log_sum).exp()
    return Plane(value, value - weight * chords, weight)


def _safe(x: Tensor, dim: int) -> Tensor:
    """Scores for `logsumexp`: a row that is left out altogether must not give NaN gradients."""
    return torch.where((x > -math.inf).any(dim, keepdim=True), x, 0)


def _through_reciprocal(scores: Scores) -> Plane:
    """Tangent of `1/D` with `D = 1 + Σ exp(xⱼ − xᵢ)` from above.

    `exp(xⱼ) exp(−xᵢ)` lies below a plane that touches it at two opposite corners of its box; of these planes,
    the one whose slope by `xⱼ` is a product of a number for `i` and the chord's slope for `j`. As good at the
    midpoint as chords of all the differences, which need a slope for every pair.
    """
    z_low, z_up = scores.advantage
    # Not by `softplus`, which PyTorch replaces by the identity above 20, as if the one in D were nothing.
    log_p = math.log(2) - torch.logaddexp(-F.logsigmoid(z_low), -F.logsigmoid(z_up))
    low, up = scores.filled(scores.low), scores.filled(scores.up)
    width = up - low
    small = 2 * log_p - low < _limit(low)
    scale = (torch.where(small, 2 * log_p - low, 0)).exp()
    weight = scale * (1 + (-width).exp()) / 2
    diagonal = scale * relative_chord(width) * _mean_of_ends(scores).exp()
    value = torch.where(small, log_p.exp(), -1)  # never better than the constant
    return Plane(value, diagonal, weight)


def softmax_lower(scores: Scores) -> Affine:
    """The best of all planes below."""
    chords = scores.chords
    plane = constant(torch.sigmoid(scores.advantage[0]))
    for candidate in (
        _through_sigmoid(scores, chords),
        _through_exponentials(scores, chords),
        _through_reciprocal(scores),
    ):
        plane = plane.better(candidate, LOWER)
    return plane.anchored(scores, chords, 1.0)


def softmax_upper(scores: Scores) -> Affine:
    """`σ(z) ≤ k z + b`, then `z` from above: the tangent of the concave `−T` at the midpoint.

    At the midpoint this is the concave envelope of σ, so never above the chord of `exp` by `log p`, which is
    the upper LSE bound of Wei et al. 2023, nor above the chord of `1/D`.
    """
    low, up = scores.advantage
    midpoint = scores.midpoint
    rest = others(midpoint, scores.dim, scores.live)
    z = (scores.filled(midpoint) - rest).maximum(low).minimum(up)
    k, b = sigmoid_line(low, up, z, UPPER)
    peak = scores.filled(midpoint.detach(), -math.inf).amax(scores.dim, keepdim=True)
    peak = torch.where(peak.isfinite(), peak, 0)
    vector = scores.filled(torch.where(scores.live, midpoint - peak, 0).exp())
    exponent = peak - rest
    small = exponent < _limit(low)
    weight = k * torch.where(small, exponent, 0).exp()
    through = Plane(torch.where(small, k * z + b, 2), k, weight)
    plane = constant(torch.sigmoid(up)).better(through, UPPER)
    return plane.anchored(scores, vector, 1.0)


def log_softmax_lower(scores: Scores, absent: Tensor | None = None) -> Affine:
    """`xᵢ − LSE`, the sum of exponentials by chords and its logarithm by a tangent; or through `z`.

    Args:
        scores: The box.
        absent: See `Plane.anchored`.
    """
    chords = scores.chords
    low, up = scores.advantage
    plane = constant(F.logsigmoid(low))
    sums = [torch.logsumexp(_safe(e, scores.dim), scores.dim, keepdim=True) for e in (scores.low, scores.up)]
    log_sum = torch.logaddexp(sums[0], sums[1]) - math.log(2)
    weight = (-log_sum).exp().expand(low.shape)
    direct = Plane(scores.filled(scores.midpoint) - log_sum, 1 - weight * chords, weight)
    value, factor = _advantage_below(scores)
    width = up - low
    wide = width.detach() > 0
    rise = ((F.logsigmoid(up) - F.logsigmoid(low)) / torch.where(wide, width, 1)).clamp(0, 1)
    k = torch.where(wide, rise, torch.sigmoid(-low))
    b = (F.logsigmoid(low) - k * low).minimum(F.logsigmoid(up) - k * up)
    through = Plane(k * value + b, k, k * factor)
    best = plane.better(direct, LOWER).better(through, LOWER)
    return best.anchored(scores, chords, 0.0, absent)


def log_softmax_upper(scores: Scores, absent: Tensor | None = None) -> Affine:
    """The tangent of the concave `xᵢ − LSE` at the midpoint.

    The midpoint is shifted by its own maximum: how far it is from the upper ends would be lost of the slopes.

    Args:
        scores: The box.
        absent: See `Plane.anchored`.
    """
    far = scores.midpoint
    peak = scores.filled(far.detach(), -math.inf).amax(scores.dim, keepdim=True)
    midpoint = far - torch.where(peak.isfinite(), peak, 0)
    log_sum = torch.logsumexp(_safe(midpoint, scores.dim), scores.dim, keepdim=True)
    log_p = scores.filled(scores.filled(midpoint) - log_sum)
    rest = scores.filled(others(midpoint, scores.dim, scores.live) - log_sum)
    probability = scores.filled(log_p.exp())
    return Plane(log_p, rest.exp(), torch.ones_like(probability)).anchored(scores, probability, 0.0, absent)
