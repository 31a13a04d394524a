"""The rule that a curve determines: interval, lines and what the engines ask besides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lirpa_core.errors import UnsupportedOperandError
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import Diagonal, align
from lirpa_core.linear.relaxation import Affine, Relaxation
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

    def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        """The smallest and largest value of the function over the box."""
        curve = self._curve(call)
        lo, hi, outside = _box(call, curve, inputs[0])
        lower, upper = curve.hull(lo, hi)
        if outside is not None:
            lower = torch.where(outside, -torch.inf, lower)
            upper = torch.where(outside, torch.inf, upper)
        if lower.shape[1:] == call.shape == upper.shape[1:]:
            return Interval(lower, upper)
        return Interval(_full(call, lower), _full(call, upper))

    def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
        """The two lines that lose the least area, or what `lower_slope` makes of them."""
        curve = self._curve(call)
        lo, hi, outside = _box(call, curve, inputs[0])
        shape = call.shapes[0]
        if curve.lines is not None and self.lower_slope is None and shape == call.shape:
            k_lo, b_lo, k_up, b_up = curve.lines(lo, hi)
            return Relaxation(Affine((Diagonal(k_lo, shape),), b_lo), Affine((Diagonal(k_up, shape),), b_up))
        k_lo, k_up = default_slopes(curve, lo, hi)
        if self.lower_slope is not None:
            k_lo = torch.where(curve.bent(lo, hi), self.lower_slope(k_up), k_lo)
            return _lines(call, curve, lo, hi, outside, k_lo, k_up)
        return _lines(call, curve, lo, hi, outside, k_lo, k_up, supporting=True)

    def slopes(self, call: Call, inputs: tuple[Interval | None, ...]) -> tuple[Slope, ...]:
        """The slopes of the lower and of the upper line; lines of slopes out of the ranges are beaten everywhere."""
        curve = self._curve(call)
        lo, hi, _ = _box(call, curve, inputs[0])
        starts = default_slopes(curve, lo, hi)
        ranges = (slope_range(curve, lo, hi, LOWER), slope_range(curve, lo, hi, UPPER))
        return tuple(
            Slope(_full(call, start), _full(call, least), _full(call, greatest))
            for start, (least, greatest) in zip(starts, ranges, strict=True)
        )

    def relax_with(
        self, call: Call, inputs: tuple[Interval | None, ...], slopes: Sequence[Tensor]
    ) -> Relaxation:
        """The tightest lines of the given slopes `[B, *S]`, of the lower and of the upper line; sound for any."""
        k_lo, k_up = slopes
        curve = self._curve(call)
        lo, hi, outside = _box(call, curve, inputs[0])
        return _lines(call, curve, lo, hi, outside, k_lo, k_up)

    def unstable_inputs(self, call: Call, inputs: tuple[Interval | None, ...]) -> tuple[Tensor | None, ...]:
        """Elements on whose box the function is not one straight line."""
        curve = self._curve(call)
        lo, hi, _ = _box(call, curve, inputs[0])
        bent = curve.bent(lo, hi)
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


def parameter(call: Call, name: str) -> Any:
    """An argument ready for arithmetic with a box `[B, *S]`: a constant tensor aligned, else as it is."""
    value = call[name]
    if not isinstance(value, Const):
        return value
    return align(value.value, 1, len(call.shape)) if value.batched else value.value


def _ends(call: Call, box: Interval | None) -> tuple[Tensor, Tensor]:
    assert box is not None  # needs_interval says so
    rank = len(call.shape)
    return align(box.lower, 1, rank), align(box.upper, 1, rank)


def _box(call: Call, curve: Curve, box: Interval | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """End points that are safe to compute with, and where they stand in for a box outside the domain."""
    assert box is not None  # needs_interval says so
    lo, hi, rank = box.lower, box.upper, len(call.shape)
    if lo.dim() <= rank:
        lo, hi = align(lo, 1, rank), align(hi, 1, rank)
    if curve.outside is None and not curve.singular:
        return lo, hi, None
    outside = None if curve.outside is None else curve.outside(lo, hi)
    if outside is not None:
        lo, hi = torch.where(outside, curve.inside, lo), torch.where(outside, curve.inside, hi)
    for point in curve.singular:
        lo, hi = _without_gradient_near(point, lo), _without_gradient_near(point, hi)
    return lo, hi, outside


def _without_gradient_near(point: float, x: Tensor) -> Tensor:
    """Cut the gradient at a singular point, and where the square of the distance to it underflows."""
    near = (x.detach() - point).abs() <= torch.finfo(x.dtype).tiny ** 0.5
    return torch.where(near, x.detach(), x)


def _lines(
    call: Call,
    curve: Curve,
    lo: Tensor,
    hi: Tensor,
    outside: Tensor | None,
    k_lo: Tensor,
    k_up: Tensor,
    supporting: bool = False,
) -> Relaxation:
    b_lo: Tensor | None
    b_up: Tensor | None
    through_zero = supporting and curve.homogeneous
    if through_zero and curve.shape:
        # A tangent of such a curve passes through zero: only the chord has an intercept.
        b_lo = b_up = None
        if curve.shape == CONVEX:
            b_up = intercept(curve, lo, hi, k_up, UPPER)
        else:
            b_lo = intercept(curve, lo, hi, k_lo, LOWER)
    else:
        b_lo, b_up = intercept(curve, lo, hi, k_lo, LOWER), intercept(curve, lo, hi, k_up, UPPER)
    if outside is not None:
        k_lo, k_up = torch.where(outside, 0, k_lo), torch.where(outside, 0, k_up)
        b_lo = None if b_lo is None else torch.where(outside, -torch.inf, b_lo)
        b_up = None if b_up is None else torch.where(outside, torch.inf, b_up)
    shape = call.shapes[0]

    def affine(k: Tensor, b: Tensor | None) -> Affine:
        return Affine((Diagonal(_full(call, k), shape),), None if b is None else _full(call, b))

    return Relaxation(affine(k_lo, b_lo), affine(k_up, b_up))


def _full(call: Call, x: Tensor) -> Tensor:
    """Expand to `[B, *S]`, the leading size as it comes."""
    return x.expand(x.shape[0], *call.shape) if x.dim() > len(call.shape) else x.expand(1, *call.shape)
