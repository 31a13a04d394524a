"""Planes under and over softmax and its logarithm, on a box of scores.

Every plane is a member of a family whose members are sound one by one; for each output the member with
the best value at the midpoint of the box is taken, that is the one that loses the least volume.
Notation as in `Scores`: `pᵢ = σ(zᵢ)` with `zᵢ = xᵢ − Tᵢ(x)`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from lirpa_core.linear import Affine
from lirpa_core.rules import Slope
from lirpa_core.rules.relaxations import relative_chord, shares_at, weights_of
from lirpa_ops_nlp.softmax.outer import OwnMinusOthers
from lirpa_ops_nlp.softmax.scores import Scores, others
from lirpa_ops_nlp.softmax.support import LOWER, UPPER, sigmoid_line


@dataclass(frozen=True, eq=False)
class Plane:
    """A plane for each output: its value at the midpoint, and the slopes; see `OwnMinusOthers`."""

    value: Tensor
    diagonal: Tensor
    weight: Tensor

    def replaced(self, other: Plane, where: Tensor) -> Plane:
        """The other plane where it is taken."""
        return Plane(
            torch.where(where, other.value, self.value),
            torch.where(where, other.diagonal, self.diagonal),
            torch.where(where, other.weight, self.weight),
        )

    def better(self, other: Plane, side: int) -> Plane:
        """Output by output, the plane with the better value at the midpoint; NaN is never better."""
        take = (other.value > self.value) if side == LOWER else (other.value < self.value)
        return self.replaced(other, take & other.diagonal.isfinite() & other.weight.isfinite())

    @classmethod
    def mixed(cls, planes: Sequence[Plane], shares: Tensor) -> Plane:
        """The mixture of planes with shares `[B, *S, K]`."""
        weights = weights_of(shares).unbind(-1)

        def mixture(parts: list[Tensor]) -> Tensor:
            return torch.stack([w * part for w, part in zip(weights, parts, strict=True)]).sum(0)

        return cls(
            mixture([p.value for p in planes]),
            mixture([p.diagonal for p in planes]),
            mixture([p.weight for p in planes]),
        )

    def anchored(
        self,
        scores: Scores,
        vector: Tensor,
        fixed: float,
        absent: Tensor | None = None,
        origin: Tensor | None = None,
    ) -> Affine:
        """The plane as an affine function of the scores.

        Args:
            scores: The box.
            vector: The shared factor of the outer product.
            fixed: Value of the outputs that are alone.
            absent: Infinities of the outputs that are left out; None: these outputs are zero.
            origin: The scores at which the plane has its value; default: the midpoint.
        """
        diagonal, weight = scores.filled(self.diagonal), scores.filled(self.weight)
        op = OwnMinusOthers(diagonal, weight, vector, scores.dim)
        value = torch.where(scores.alone, fixed, scores.filled(self.value))
        at = scores.midpoint if origin is None else origin
        return Affine((op,), value - op.apply(torch.where(scores.live | scores.alone, at, 0)), absent)


#: The largest exponent of a slope: factors beyond would have lost digits by the rounding of the exponent, where a
#: probability is within 10⁻¹² of its end.
_LIMIT = 28.0

#: Relative roundings behind a value that is the exponential of a number of size one.
_ROUNDINGS = 8


def outward(value: Tensor, side: int) -> Tensor:
    """A probability moved outward by what the rounding of its logarithm may have changed: `8 u p (1 − log p)`.

    The exponential of a number is off by the number's size, in units of roundoff of its own: that grows as the
    probability falls, and no other account has it.
    """
    p = value.detach().clamp(0, 1)
    entropy: Tensor = torch.special.entr(p)
    off = (_ROUNDINGS * torch.finfo(p.dtype).eps) * (p + entropy)
    return value - off if side == LOWER else value + off


def constant(value: Tensor) -> Plane:
    """The plane without slope."""
    zero = torch.zeros_like(value)
    return Plane(value, zero, zero)


def _mean_of_ends(scores: Scores) -> Tensor:
    """`log` of the sum over the others of the chords of `exp`, at the midpoint, counted from the peak."""
    low, up = (scores.filled(rest.since(scores.peak)) for rest in (scores.rest_low, scores.rest_up))
    return torch.logaddexp(low, up) - math.log(2)


def _advantage_below(scores: Scores) -> tuple[Tensor, Tensor]:
    """An affine function below `z`: its value at the midpoint, and the factor `w` of the chords' slopes.

    `T ≤ log s − 1 + Σ_{j≠i} chordⱼ / s` for any `s > 0`; `s` is the sum of the chords at the midpoint, or more
    where that would overflow.
    """
    log_sum = _mean_of_ends(scores)
    log_s = log_sum.clamp(min=-_LIMIT)
    value = scores.filled(scores.centre) - (log_s - 1 + (log_sum - log_s).exp())
    return value, (-log_s).exp()


def _through_sigmoid(scores: Scores, chords: Tensor) -> Plane:
    """`σ(z) ≥ k z + b`, then `z` from below: the convex envelope of σ in place of an exponential's."""
    low, up = scores.advantage
    value, factor = _advantage_below(scores)
    k, b = sigmoid_line(low, up, value.maximum(low).minimum(up), LOWER)
    return Plane(k * value + b, k, k * factor)


def _through_exponentials(scores: Scores, chords: Tensor) -> Plane:
    """Tangent of the convex `exp(xᵢ) / Σⱼ chordⱼ(xⱼ)` (Wei et al. 2023, the lower LSE bound)."""
    log_sum = _sum_of_chords(scores)
    value = (scores.filled(scores.centre) - log_sum).exp()
    weight = value * (-log_sum).exp()
    return Plane(value, value - weight * chords, weight)


def _sum_of_chords(scores: Scores) -> Tensor:
    """`log` of the sum over all scores of the chords of `exp`, at the midpoint, counted from the peak."""
    ends = (_safe(end - scores.peak, scores.dim) for end in (scores.lower, scores.upper))
    low, up = (torch.logsumexp(end, scores.dim, keepdim=True) for end in ends)
    return torch.logaddexp(low, up) - math.log(2)


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
    low, width = scores.filled(scores.lower - scores.peak), scores.filled(scores.upper - scores.lower)
    small = 2 * log_p - low < _LIMIT
    scale = (torch.where(small, 2 * log_p - low, 0)).exp()
    weight = scale * (1 + (-width).exp()) / 2
    diagonal = scale * relative_chord(width) * _mean_of_ends(scores).exp()
    value = torch.where(small, log_p.exp(), -1)  # never better than the constant
    return Plane(value, diagonal, weight)


def planes_below(scores: Scores) -> tuple[Plane, ...]:
    """All planes below softmax; where one does not exist, the constant stands for it."""
    chords, flat = scores.chords, constant(torch.sigmoid(scores.advantage[0]))
    least = math.exp(-2 * _LIMIT)  # a plane that low is no better than the constant, but for rounding
    found = [flat]
    for plane in (
        _through_sigmoid(scores, chords),
        _through_exponentials(scores, chords),
        _through_reciprocal(scores),
    ):
        exists = plane.value.isfinite() & plane.diagonal.isfinite() & plane.weight.isfinite()
        found.append(flat.replaced(plane, exists & (plane.value > least)))
    return tuple([replace(plane, value=outward(plane.value, LOWER)) for plane in found])


def softmax_lower(scores: Scores, shares: Tensor | None = None) -> Affine:
    """The best of all planes below, or their mixture with shares `[B, *S, 4]`."""
    planes = planes_below(scores)
    plane = planes[0]
    for candidate in planes[1:]:
        plane = plane.better(candidate, LOWER)
    if shares is not None:
        plane = Plane.mixed(planes, shares)
    return plane.anchored(scores, scores.chords, 1.0)


def softmax_choices(scores: Scores) -> tuple[Slope, ...]:
    """The shares of the planes below, and of the plane above where its two tangents touch, from 0 to 1."""
    planes = planes_below(scores)
    values = torch.stack([p.value.detach() for p in planes], -1)
    half = torch.full_like(scores.lower, 0.5)
    low, up = scores.advantage
    rest = others(scores.midpoint, scores.dim, scores.live)
    z = scores.filled(rest.behind(scores.filled(scores.midpoint))).detach()
    wide = (up > low) & scores.live
    at = torch.where(wide, (z - low) / torch.where(wide, up - low, 1), 0.5).clamp(0, 1)
    moves = scores.live & (scores.upper > scores.lower)
    return (
        shares_at(values.argmax(-1), len(planes), values.dtype),
        Slope(half, torch.where(moves, 0, half), torch.where(moves, 1, half)),
        Slope(at, torch.where(wide, 0, at), torch.where(wide, 1, at)),
    )


def softmax_upper(scores: Scores, touching: Sequence[Tensor] | None = None) -> Affine:
    """`σ(z) ≤ k z + b`, then `z` from above: the tangent of the concave `−T` at the midpoint.

    At the midpoint this is the concave envelope of σ, so never above the chord of `exp` by `log p`, which is
    the upper LSE bound of Wei et al. 2023, nor above the chord of `1/D`. Tangents elsewhere are as sound.

    Args:
        scores: The box.
        touching: Where the tangents of `−T` and of the envelope of `σ` touch, from 0 to 1, `[B, *S]` each.
    """
    low, up = scores.advantage
    midpoint = scores.midpoint
    if touching is not None:
        moved = torch.lerp(scores.filled(scores.lower), scores.filled(scores.upper), touching[0].clamp(0, 1))
        midpoint = torch.where(scores.live, moved, midpoint)
    rest = others(midpoint, scores.dim, scores.live)
    z = scores.filled(rest.behind(scores.filled(midpoint))).maximum(low).minimum(up)
    at = z if touching is None else torch.lerp(low, up, touching[1].clamp(0, 1))
    k, b = sigmoid_line(low, up, at, UPPER)
    peak = _peak(scores, midpoint)
    vector = scores.filled(scores.filled(midpoint - peak).exp())
    exponent = -rest.since(peak)
    small = exponent < _LIMIT
    weight = k * torch.where(small, exponent, 0).exp()
    through = Plane(torch.where(small, outward(k * z + b, UPPER), 2), k, weight)
    flat = constant(outward(torch.sigmoid(up), UPPER))
    if touching is None:
        return flat.better(through, UPPER).anchored(scores, vector, 1.0)
    exists = small & through.value.isfinite() & through.weight.isfinite() & through.diagonal.isfinite()
    return flat.replaced(through, exists).anchored(scores, vector, 1.0, origin=midpoint)


def _peak(scores: Scores, x: Tensor) -> Tensor:
    """The largest of the live scores at a point; zero where there is none."""
    peak = scores.filled(x.detach(), -math.inf).amax(scores.dim, keepdim=True)
    return torch.where(peak.isfinite(), peak, 0)


def log_softmax_lower(scores: Scores, absent: Tensor | None = None) -> Affine:
    """`xᵢ − LSE`, the sum of exponentials by chords and its logarithm by a tangent; or through `z`.

    Args:
        scores: The box.
        absent: See `Plane.anchored`.
    """
    chords = scores.chords
    low, up = scores.advantage
    plane = constant(F.logsigmoid(low))
    log_sum = _sum_of_chords(scores)
    weight = (-log_sum).exp().expand(low.shape)
    direct = Plane(scores.filled(scores.centre) - log_sum, 1 - weight * chords, weight)
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
    peak = _peak(scores, scores.midpoint)
    midpoint = scores.midpoint - peak
    log_sum = torch.logsumexp(_safe(midpoint, scores.dim), scores.dim, keepdim=True)
    log_p = scores.filled(scores.filled(midpoint) - log_sum)
    rest = scores.filled(others(midpoint, scores.dim, scores.live).since(log_sum))
    probability = scores.filled(log_p.exp())
    return Plane(log_p, rest.exp(), torch.ones_like(probability)).anchored(scores, probability, 0.0, absent)
