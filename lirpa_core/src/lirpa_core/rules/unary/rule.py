"""The rule that a curve determines: interval, lines and what methods ask besides."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from lirpa_core.errors import UnsupportedOperandError
from lirpa_core.linear.infinite import separated
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import Diagonal, align
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.linear.rounding import Accuracy, RelativeTo
from lirpa_core.rules.base import Rule, Slope
from lirpa_core.rules.call import Call, Const
from lirpa_core.rules.unary.curve import CONVEX, LOWER, UPPER, Curve
from lirpa_core.rules.unary.lines import default_slopes, intercept, slope_range


@dataclass(frozen=True)
class Unary(Rule):
    """Bounds of an operator that applies one function to every element of one operand.

    Attributes:
        curve: The function, or how to build it from the call's parameters.
        operands: The arguments that may be the perturbed one (default: the first); all others must be
            constant.
        refuse: Says why a call cannot be bounded, or None; for parameters outside of what `curve`
            can describe.
        lower_slope: From the slopes of the upper lines to those of the lower ones, where the function is not
            straight; default: the slopes that lose the least area.
    """

    curve: Curve | Callable[[Call], Curve]
    operands: tuple[str, ...] = ()
    refuse: Callable[[Call], str | None] | None = None
    lower_slope: Callable[[Tensor], Tensor] | None = None

    family = "unary"

    def check(self, call: Call) -> None:
        """Refuse perturbed parameters, more than one perturbed operand, and what `refuse` names."""
        perturbed = [name for name in call.arguments if call.slot(name) is not None]
        operands = self.operands or tuple(call.arguments)[:1]
        if len(call.shapes) != 1 or len(perturbed) != 1 or perturbed[0] not in operands:
            allowed = " or ".join(f"'{name}'" for name in operands)
            raise UnsupportedOperandError(
                f"{call}: one operand can be perturbed, {allowed}, and the others must be constant; "
                f"perturbed here: {', '.join(repr(name) for name in perturbed) or 'none'}"
            )
        reason = self.refuse(call) if self.refuse is not None else None
        if reason is not None:
            raise UnsupportedOperandError(f"{call}: {reason}")

    def domain_violation(self, call: Call, inputs: tuple[Interval | None, ...]) -> Tensor | None:
        """See `Rule.domain_violation`: what the curve says."""
        curve = self._curve(call)
        return None if curve.outside is None else curve.outside(*_ends(call, inputs[0]))

    def accuracy(self, call: Call) -> Accuracy:
        """See `Rule.accuracy`: what the curve says."""
        curve = self._curve(call)
        relative_to: RelativeTo = "exact" if curve.rounding == "exact" else "ends"
        terms = curve.units + (2 * _largest_exponent(call.dtype) if curve.exponential else 0)
        return Accuracy(
            terms, relative_to, curve.rounding == "absolute", floor=curve.floor, reach=curve.reach
        )

    def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        """The smallest and largest value of the function over the box."""
        curve = self._curve(call)
        lower, upper = _hull(curve, *_ends(call, inputs[0]))
        if lower.shape[1:] == call.shape == upper.shape[1:]:
            return Interval(lower, upper)
        return Interval(_full(call, lower), _full(call, upper))

    def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
        """The two lines that lose the least area, or what `lower_slope` makes of them."""
        curve = self._curve(call)
        shape = call.shapes[0]
        if curve.lines is not None and self.lower_slope is None and shape == call.shape and not call.infinite:
            k_lo, b_lo, k_up, b_up = curve.lines(*_ends(call, inputs[0]))
            return Relaxation(Affine((Diagonal(k_lo, shape),), b_lo), Affine((Diagonal(k_up, shape),), b_up))
        box = _Box.of(call, curve, inputs[0])
        k_lo, k_up = default_slopes(curve, box.lo, box.hi)
        if self.lower_slope is not None:
            k_lo = torch.where(curve.bent(box.lo, box.hi), self.lower_slope(k_up), k_lo)
            return _lines(call, curve, box, k_lo, k_up)
        return _lines(call, curve, box, k_lo, k_up, supporting=True)

    def slopes(self, call: Call, inputs: tuple[Interval | None, ...]) -> tuple[Slope, ...]:
        """The slopes of the lower and of the upper line; lines of slopes out of the ranges are beaten everywhere."""
        curve = self._curve(call)
        box = _Box.of(call, curve, inputs[0])
        starts = default_slopes(curve, box.lo, box.hi)
        ranges = (slope_range(curve, box.lo, box.hi, side) for side in (LOWER, UPPER))
        return tuple(
            Slope(*(_full(call, box.slope(k)) for k in (start, least, greatest)))
            for start, (least, greatest) in zip(starts, ranges, strict=True)
        )

    def relax_with(
        self, call: Call, inputs: tuple[Interval | None, ...], slopes: Sequence[Tensor]
    ) -> Relaxation:
        """The tightest lines of the given slopes `[B, *S]`, of the lower and of the upper line; sound for any."""
        k_lo, k_up = slopes
        curve = self._curve(call)
        return _lines(call, curve, _Box.of(call, curve, inputs[0]), k_lo, k_up)

    def unstable_inputs(self, call: Call, inputs: tuple[Interval | None, ...]) -> tuple[Tensor | None, ...]:
        """Elements on whose box the function is not one straight line."""
        curve = self._curve(call)
        if call.infinite or curve.outside is not None or curve.singular:
            box = _Box.of(call, curve, inputs[0])
            bent = curve.bent(box.lo, box.hi)
            if box.fixed is not None:  # a tighter box may have two ends, and then slopes
                bent = bent | (box.fixed & (box.low < box.up))
        else:
            bent = curve.bent(*_ends(call, inputs[0]))
        if call.shapes[0] == call.shape and bent.dim() > len(call.shape):
            return (bent,)
        bent = _full(call, bent)
        shape, extra = call.shapes[0], bent.dim() - 1 - len(call.shapes[0])
        dims = [1 + i for i in range(extra)]
        dims += [1 + extra + i for i, n in enumerate(shape) if n == 1 and bent.shape[1 + extra + i] != 1]
        for dim in dims:
            bent = bent.any(dim, keepdim=True)
        return (bent.reshape(bent.shape[0], *shape),)

    def _curve(self, call: Call) -> Curve:
        return self.curve if isinstance(self.curve, Curve) else self.curve(call)


@cache
def _largest_exponent(dtype: torch.dtype) -> int:
    """The largest number whose exponential does not overflow, nor that of its opposite underflow."""
    return math.ceil(-math.log(torch.finfo(dtype).smallest_normal)) + 1


def parameter(call: Call, name: str) -> Any:
    """An argument ready for arithmetic with a box `[B, *S]`: a constant tensor aligned, else as it is."""
    value = call[name]
    if not isinstance(value, Const):
        return value
    return align(value.value, 1, len(call.shape)) if value.batched else value.value


def _ends(call: Call, box: Interval | None) -> tuple[Tensor, Tensor]:
    assert box is not None  # needs_interval says so
    lo, hi, rank = box.lower, box.upper, len(call.shape)
    return (lo, hi) if lo.dim() > rank else (align(lo, 1, rank), align(hi, 1, rank))


def _hull(curve: Curve, lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest and the largest value over a box, infinite where it reaches outside the domain."""
    safe_lo, safe_hi, outside = _safe(curve, lo, hi)
    lower, upper = curve.hull(safe_lo, safe_hi)
    if outside is not None:
        lower = torch.where(outside, -torch.inf, lower)
        upper = torch.where(outside, torch.inf, upper)
    return lower, upper


def _safe(curve: Curve, lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """End points that are safe to compute with, and where they stand in for a box outside the domain."""
    if curve.outside is None and not curve.singular:
        return lo, hi, None
    outside = None if curve.outside is None else curve.outside(lo, hi)
    if outside is not None:
        lo, hi = torch.where(outside, curve.inside, lo), torch.where(outside, curve.inside, hi)
    for point in curve.singular:
        lo, hi = _without_gradient_near(point, lo), _without_gradient_near(point, hi)
    return lo, hi, outside


@dataclass(frozen=True, eq=False)
class _Box:
    """A box to draw lines on, and where there are only constants to be had.

    Attributes:
        lo: Lower ends that are safe to compute with.
        hi: Upper ends that are safe to compute with.
        fixed: Where the box is infinite or outside the domain, so that its lines have no slope; None: nowhere.
        low: The constant below, read where `fixed`.
        up: The constant above, read where `fixed`.
    """

    lo: Tensor
    hi: Tensor
    fixed: Tensor | None
    low: Tensor
    up: Tensor

    @classmethod
    def of(cls, call: Call, curve: Curve, box: Interval | None) -> _Box:
        lo, hi = _ends(call, box)
        safe_lo, safe_hi, outside = _safe(curve, lo, hi)
        if not call.infinite:
            low = torch.full((), -torch.inf, dtype=lo.dtype, device=lo.device)
            return cls(safe_lo, safe_hi, outside, low, -low)
        low, up = _hull(curve, lo, hi)
        fixed = lo.isinf() | hi.isinf()  # NaN stays, and comes out
        safe_lo, safe_hi = (
            torch.where(fixed, curve.inside, safe_lo),
            torch.where(fixed, curve.inside, safe_hi),
        )
        return cls(safe_lo, safe_hi, fixed if outside is None else fixed | outside, low, up)

    def slope(self, k: Tensor) -> Tensor:
        """A slope, zero where there are only constants."""
        return k if self.fixed is None else torch.where(self.fixed, 0, k)


def _without_gradient_near(point: float, x: Tensor) -> Tensor:
    """Cut the gradient at a singular point, and where the square of the distance to it underflows."""
    near = (x.detach() - point).abs() <= torch.finfo(x.dtype).tiny ** 0.5
    return torch.where(near, x.detach(), x)


def _lines(
    call: Call, curve: Curve, box: _Box, k_lo: Tensor, k_up: Tensor, supporting: bool = False
) -> Relaxation:
    lo, hi = box.lo, box.hi
    b_lo: Tensor | None
    b_up: Tensor | None
    if supporting and curve.homogeneous and curve.shape and box.fixed is None:
        # A tangent of such a curve passes through zero: only the chord has an intercept.
        b_lo = b_up = None
        if curve.shape == CONVEX:
            b_up = intercept(curve, lo, hi, k_up, UPPER)
        else:
            b_lo = intercept(curve, lo, hi, k_lo, LOWER)
    else:
        b_lo, b_up = intercept(curve, lo, hi, k_lo, LOWER), intercept(curve, lo, hi, k_up, UPPER)
    if box.fixed is not None:
        assert b_lo is not None and b_up is not None
        k_lo, k_up = box.slope(k_lo), box.slope(k_up)
        b_lo, b_up = torch.where(box.fixed, box.low, b_lo), torch.where(box.fixed, box.up, b_up)
    shape = call.shapes[0]

    def affine(k: Tensor, b: Tensor | None) -> Affine:
        bias = None if b is None else _full(call, b)
        return Affine((Diagonal(_full(call, k), shape),), *separated(bias, call.infinite))

    return Relaxation(affine(k_lo, b_lo), affine(k_up, b_up))


def _full(call: Call, x: Tensor) -> Tensor:
    """Expand to `[B, *S]`, the leading size as it comes."""
    return x.expand(x.shape[0], *call.shape) if x.dim() > len(call.shape) else x.expand(1, *call.shape)
