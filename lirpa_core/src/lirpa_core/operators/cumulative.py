"""Cumulative maxima, minima and logsumexps: each element's planes over the elements up to it; cumulative products."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lirpa_core.graph import Shape
from lirpa_core.linear.infinite import separated
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import Diagonal, LinearOp
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.operators.logsumexp import bounded_ends, lse_accuracy, taking_part
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.call import Call
from lirpa_core.rules.general import General
from lirpa_core.rules.relaxations.exponential import relative_chord
from lirpa_core.rules.relaxations.maximum import maximum_planes

aten = torch.ops.aten


@dataclass(frozen=True, eq=False)
class AlongDim(LinearOp):
    """A matrix for every line along one dimension: `y_k = Σⱼ weight[k, j] · x_j`.

    Attributes:
        weight: `[B, *lines, n, n]`, where `lines` is `S` without the dimension.
        dim: The dimension of `S`.
    """

    weight: Tensor
    dim: int

    @property
    def in_shape(self) -> Shape:
        lines = list(self.weight.shape[1:-2])
        lines.insert(self.dim, self.weight.shape[-1])
        return tuple(lines)

    @property
    def out_shape(self) -> Shape:
        return self.in_shape

    @property
    def fan_in(self) -> int:
        return self.weight.shape[-1]

    @property
    def fan_out(self) -> int:
        return self.weight.shape[-1]

    def apply(self, x: Tensor, lead: int = 1) -> Tensor:
        return self._times(self.weight, x, lead)

    def apply_abs(self, x: Tensor, lead: int = 1) -> Tensor:
        return self._times(self.weight.abs(), x, lead)

    def transpose(self, A: Tensor) -> Tensor:
        return self._times(self.weight.mT, A, 2)

    def _times(self, weight: Tensor, x: Tensor, lead: int) -> Tensor:
        moved = x.movedim(self.dim + lead, -1)
        return (weight @ moved.unsqueeze(-1)).squeeze(-1).movedim(-1, self.dim + lead)


@dataclass(frozen=True)
class _Lines:
    """A box whose dimension of accumulation stands last: `[B, *lines, n]`.

    Attributes:
        lower: Lower ends.
        upper: Upper ends.
        dim: Where the dimension was in `S`.
    """

    lower: Tensor
    upper: Tensor
    dim: int

    @classmethod
    def of(cls, call: Call, x: Interval) -> _Lines:
        """The box of a call's operand, which must not be a single number."""
        dim = call["dim"] % len(call.shape)
        return cls(x.lower.movedim(dim + 1, -1), x.upper.movedim(dim + 1, -1), dim)

    @property
    def until(self) -> Tensor:
        """Whether element `j` (column) is accumulated in `k` (row): `[n, n]`."""
        n = self.lower.shape[-1]
        return torch.ones(n, n, dtype=torch.bool, device=self.lower.device).tril()

    def back(self, x: Tensor) -> Tensor:
        """`[B, *lines, n]` to `[B, *S]`."""
        return x.movedim(-1, self.dim + 1)

    def affine(self, weight: Tensor, bias: Tensor | None = None, infinite: Tensor | None = None) -> Affine:
        """`weight` `[B, *lines, n, n]`, `bias` and its infinities `[B, *lines, n]`."""
        parts = (None if x is None else self.back(x) for x in (bias, infinite))
        return Affine((AlongDim(weight, self.dim),), *parts)


def _itself(call: Call) -> Relaxation:
    """Of a single number there is nothing to accumulate."""
    one = torch.ones(1, dtype=call.dtype, device=call.device)
    return Relaxation.exactly(Affine((Diagonal(one, ()),)))


# ---------------------------------------------------------------------- maxima


@dataclass(frozen=True)
class _Cumulative:
    """Bounds of the cumulative maximum (`sign` 1) or minimum (−1)."""

    sign: int

    def bound(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        """The cumulative maxima of the ends, exactly the range."""
        (x,) = inputs
        if not call.shape:
            return x
        dim = call["dim"] % len(call.shape) + 1
        run = torch.cummax if self.sign == 1 else torch.cummin
        return Interval(run(x.lower, dim).values, run(x.upper, dim).values)

    def affine(self, call: Call, inputs: tuple[Interval, ...]) -> Relaxation:
        """See `maximum_planes`, for each element and all before it."""
        if not call.shape:
            return _itself(call)
        box = _Lines.of(call, inputs[0])
        lower, upper = (box.lower, box.upper) if self.sign == 1 else (-box.upper, -box.lower)
        until = box.until
        low, up = (torch.where(until, end.unsqueeze(-2), -math.inf) for end in (lower, upper))  # [.., k, j]
        planes = maximum_planes(low, up)
        bias, infinite = separated(self.sign * planes.bias, call.infinite)
        under, over = box.affine(planes.below), box.affine(planes.above, bias, infinite)
        return Relaxation(under, over) if self.sign == 1 else Relaxation(over, under)

    def unstable_inputs(self, call: Call, inputs: tuple[Interval, ...]) -> tuple[Tensor | None, ...]:
        """Elements that move, and reach above the lower ends of all before them."""
        if not call.shape:
            return (None,)
        box = _Lines.of(call, inputs[0])
        lower, upper = (box.lower, box.upper) if self.sign == 1 else (-box.upper, -box.lower)
        return (box.back(upper > torch.cummax(lower, -1).values),)


def _refuse_positions(call: Call) -> str | None:
    """Why the second output of a running extremum cannot be bounded."""
    if call.node.output == 1:
        return (
            "the position of an extreme element is a whole number that jumps; only its value can be bounded"
        )
    return None


# ---------------------------------------------------------------------- logsumexps


def _lse_bound(call: Call, inputs: tuple[Interval, ...]) -> Interval:
    (x,) = inputs
    if not call.shape:
        return x
    dim = call["dim"] % len(call.shape) + 1
    return Interval(torch.logcumsumexp(x.lower, dim), torch.logcumsumexp(x.upper, dim))


def _lse_affine(call: Call, inputs: tuple[Interval, ...]) -> Relaxation:
    """As for the logsumexp of each element and all before it, see `extremum`.

    Below: the tangent at the midpoint, its slopes from differences to the largest element, so that they sum to one
    however large the numbers are. Above: chords of the exponentials, then a tangent of the logarithm. The first
    element is itself.
    """
    if not call.shape:
        return _itself(call)
    box = _Lines.of(call, inputs[0])
    ends, bounded = bounded_ends(Interval(box.lower, box.upper), call)
    until, sloped = box.until, box.until if bounded is None else box.until & bounded.unsqueeze(-2)
    midpoint, width = ends.midpoint, ends.width
    peak = torch.cummax(taking_part(midpoint, bounded), -1).values
    weights = _exp(midpoint.unsqueeze(-2) - peak.unsqueeze(-1), sloped)
    sums = weights.sum(-1, keepdim=True)
    tangent = weights / sums
    low = peak + sums.squeeze(-1).log() - (tangent * midpoint.unsqueeze(-2)).sum(-1)
    shift = torch.cummax(box.upper, -1).values
    top = _exp(box.upper.unsqueeze(-2) - shift.unsqueeze(-1), until)
    bottom = _exp(ends.lower.unsqueeze(-2) - shift.unsqueeze(-1), until)
    total = ((top + taking_part(bottom, sloped, top)) / 2).sum(-1, keepdim=True)  # the chords at the midpoint
    slope = taking_part(top, sloped, 0) * relative_chord(width).unsqueeze(-2) / total
    up = shift + total.squeeze(-1).log() - (slope * midpoint.unsqueeze(-2)).sum(-1)
    alone = torch.arange(until.shape[0], device=until.device) == 0
    slope, up = torch.where(alone.unsqueeze(-1), tangent, slope), torch.where(alone, 0, up)
    if bounded is not None:  # where there is nothing but −∞ yet there are no slopes
        some, hull = sloped.any(-1), _lse_bound(call, inputs)
        tangent, slope = (torch.where(some.unsqueeze(-1), k, 0) for k in (tangent, slope))
        low, up = (
            torch.where(some, b, end.movedim(box.dim + 1, -1))
            for b, end in ((low, hull.lower), (up, hull.upper))
        )
    below, above = (separated(b, call.infinite) for b in (low, up))
    return Relaxation(box.affine(tangent, *below), box.affine(slope, *above))


def _exp(x: Tensor, where: Tensor) -> Tensor:
    """Exponentials of what takes part, zero elsewhere, without an overflow in between."""
    return torch.where(where, x, -math.inf).exp()


# ---------------------------------------------------------------------- products


def cumulative_product(self: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """The product of each element and all before it, by doubling: products of 2, 4, 8, … neighbours.

    No element is in both factors of a product, so intervals stay exact; and after `log₂ n` products of two, planes
    have lost less than after `n`.
    """
    x = self if dtype is None else self.to(dtype)
    if x.dim() == 0:
        return x
    n, done = x.shape[dim], 1
    while done < n:
        joined = x.narrow(dim, done, n - done) * x.narrow(dim, 0, n - done)
        x = torch.cat([x.narrow(dim, 0, done), joined], dim)
        done *= 2
    return x


def register(registry: OperatorRegistry) -> None:
    """Register this file's rules and the decomposition of products."""
    for op, sign in ((aten.cummax.default, 1), (aten.cummin.default, -1)):
        rule = _Cumulative(sign)
        registry.register(
            op, General(("self",), rule.bound, rule.affine, rule.unstable_inputs, _refuse_positions)
        )
    registry.register(
        aten.logcumsumexp.default, General(("self",), _lse_bound, _lse_affine, precision=lse_accuracy)
    )
    registry.decompose(aten.cumprod.default, cumulative_product)
