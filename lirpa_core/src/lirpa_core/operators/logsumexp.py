"""Rule of logsumexp, the smooth maximum, and what running ones share with it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lirpa_core.linear.infinite import separated
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import Diagonal
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.linear.rounding import Accuracy
from lirpa_core.operators.extremum import WeightedSum
from lirpa_core.operators.reduction import reduced_dims
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.base import Slope
from lirpa_core.rules.call import Call
from lirpa_core.rules.general import General
from lirpa_core.rules.relaxations.exponential import relative_chord

aten = torch.ops.aten


def _bound(call: Call, inputs: tuple[Interval, ...]) -> Interval:
    (x,) = inputs
    dims = [d + 1 for d in reduced_dims(call)]
    if not dims:
        return x
    shape = (x.lower.shape[0], *call.shape)
    return Interval(
        torch.logsumexp(x.lower, dims).reshape(shape), torch.logsumexp(x.upper, dims).reshape(shape)
    )


def lse_accuracy(call: Call) -> Accuracy:
    """The sum of exponentials is rounded beside one, which is the largest of them."""
    return Accuracy(64 + math.prod(call.shapes[0]), unit=True)


def _choices(call: Call, inputs: tuple[Interval, ...]) -> tuple[Slope, ...]:
    """Where the tangents below and above touch, from 0 to 1: a point of the box, and a sum of its exponentials."""
    (x,) = inputs
    dims = reduced_dims(call)
    if not dims:
        return ()
    half = torch.full_like(x.lower, 0.5)
    sums = torch.full((x.lower.shape[0], *call.shape), 0.5, dtype=half.dtype, device=half.device)
    moves = x.upper > x.lower
    any_moves = moves.any([d + 1 for d in dims]).reshape(sums.shape)
    return (
        Slope(half, torch.where(moves, 0, half), torch.where(moves, 1, half)),
        Slope(sums, torch.where(any_moves, _LEAST_SUM, sums), torch.where(any_moves, 1, sums)),
    )


#: The sum of exponentials at which the tangent above touches is no nearer to its least, where it may underflow.
_LEAST_SUM = 2**-10


def _refuse(call: Call) -> str | None:
    empty = any(call.shapes[0][d] == 0 for d in reduced_dims(call))
    return "the sum is of nothing, and its logarithm −∞" if empty else None


def _affine(call: Call, inputs: tuple[Interval, ...], slopes: Sequence[Tensor] | None = None) -> Relaxation:
    """Below: the tangent at the midpoint. Above: chords of the exponentials, then a tangent of the logarithm.

    `log Σ exp(xᵢ) ≤ log Σ chordᵢ(xᵢ) ≤ log s₀ − 1 + Σ chordᵢ(xᵢ)/s₀` with `s₀ = Σ chordᵢ` at the midpoint,
    all of it divided by `exp(max u)`, so that nothing overflows. Tangents elsewhere, at `slopes`, are as sound.
    """
    (x,) = inputs
    dims = reduced_dims(call)
    if not dims:
        return Relaxation.exactly(Affine((Diagonal(torch.ones_like(x.lower), call.shapes[0]),)))
    along = [d + 1 for d in dims]
    ends, bounded = bounded_ends(x, call)
    center = midpoint = ends.midpoint
    if slopes is not None:
        midpoint = torch.lerp(ends.lower, ends.upper, slopes[0].clamp(0, 1))
    # Not less logsumexp itself, whose rounding the slopes would inherit.
    peak = taking_part(midpoint, bounded).detach().amax(along, keepdim=True)
    weights = torch.exp(taking_part(midpoint - peak, bounded))
    sums = weights.sum(along, keepdim=True)
    tangent = weights / sums
    low = peak + sums.log() - (tangent * midpoint).sum(along, keepdim=True)
    shift = x.upper.amax(along, keepdim=True)
    top = torch.exp(x.upper - shift)
    slope = taking_part(top * relative_chord(ends.width), bounded, 0)
    bottom = torch.exp(ends.lower - shift)
    middle = (top + taking_part(bottom, bounded, top)) / 2  # the chords at the midpoint
    s0 = middle_sum = middle.sum(along, keepdim=True)
    if slopes is not None:
        share = slopes[1].clamp(_LEAST_SUM, 1).reshape(-1, *s0.shape[1:])
        s0 = torch.lerp(bottom.sum(along, keepdim=True), top.sum(along, keepdim=True), share)
    slope = slope / s0
    up = shift + s0.log() - (slope * center).sum(along, keepdim=True)
    if slopes is not None:
        up = up + (middle_sum / s0 - 1)
    if bounded is not None:  # of nothing but −∞ there are no slopes, and only infinite ends
        box = _bound(call, inputs)
        some = bounded.any(along, keepdim=True)
        tangent, slope = torch.where(some, tangent, 0), torch.where(some, slope, 0)
        low = torch.where(some, low, box.lower.reshape(low.shape))
        up = torch.where(some, up, box.upper.reshape(up.shape))

    def side(weight: Tensor, bias: Tensor) -> Affine:
        bias = bias.reshape(bias.shape[0], *call.shape)
        return Affine((WeightedSum(weight, dims, call.shape),), *separated(bias, call.infinite))

    return Relaxation(side(tangent, low), side(slope, up))


def bounded_ends(x: Interval, call: Call) -> tuple[Interval, Tensor | None]:
    """A box with zeros in place of unbounded elements, and which elements are bounded; None: all are."""
    if not call.infinite:
        return x, None
    bounded = x.lower.isfinite() & x.upper.isfinite()
    return Interval(torch.where(bounded, x.lower, 0), torch.where(bounded, x.upper, 0)), bounded


def taking_part(x: Tensor, where: Tensor | None, instead: float | Tensor = -torch.inf) -> Tensor:
    """`x`, with other numbers where something does not take part; None: everything does."""
    return x if where is None else torch.where(where, x, instead)


def logaddexp(self: Tensor, other: Tensor) -> Tensor:
    """`log(exp(self) + exp(other))`."""
    return torch.logsumexp(torch.stack(torch.broadcast_tensors(self, other)), 0)


def register(registry: OperatorRegistry) -> None:
    """Register this file's rule and decomposition."""
    registry.register(
        aten.logsumexp.default,
        General(
            ("self",),
            _bound,
            _affine,
            refuse=_refuse,
            precision=lse_accuracy,
            choices=_choices,
            affine_with=_affine,
        ),
    )
    registry.decompose(aten.logaddexp.default, logaddexp)
