"""Functions of several operands, element by element: powers, angles, what a division leaves."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from lirpa_core.linear.interval import Interval
from lirpa_core.operators.activation.elementary import LOG, RECIPROCAL
from lirpa_core.operators.activation.exponential import EXP
from lirpa_core.operators.activation.s_shaped import ATAN
from lirpa_core.operators.activation.steps import FLOOR, TRUNC
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.base import Rule
from lirpa_core.rules.elements import Elements, of_elements
from lirpa_core.rules.unary import Curve

aten = torch.ops.aten


# ---------------------------------------------------------------------- powers and logarithms


def _power(x: Elements, y: Elements) -> Elements:
    return (y * x.apply(LOG)).apply(EXP)


#: A positive base to any exponent.
POWER: Rule = of_elements(("self", "exponent"), _power, outside=lambda x, y: ~(x.lower > 0))


def xlogy(self: Tensor | float, other: Tensor | float) -> Tensor:
    """`self · log(other)`; of one tensor with itself it is the opposite of an entropy, which has a rule, and a value at zero."""
    if isinstance(self, Tensor) and self is other:
        entropy: Tensor = torch.special.entr(self)
        return -entropy
    if isinstance(other, Tensor):
        return torch.log(other) * self
    assert isinstance(self, Tensor)  # one of the two is
    return self * math.log(other)


def xlog1py(self: Tensor, other: Tensor) -> Tensor:
    """`self · log(1 + other)`."""
    return self * torch.log1p(other)


# ---------------------------------------------------------------------- what a division leaves


def _by_zero(x: Interval, y: Interval) -> Tensor:
    return ~((y.lower > 0) | (y.upper < 0))


def _quotient(x: Elements, y: Elements) -> Elements:
    return x * y.apply(RECIPROCAL)


def _exact_floor(x: Tensor, y: Tensor) -> Tensor:
    """The largest whole number up to `x/y`: PyTorch finds it by `fmod`, which does not round."""
    return torch.floor_divide(x, y)


def _exact_trunc(x: Tensor, y: Tensor) -> Tensor:
    """The whole number next to `x/y` towards zero, found in the same way."""
    return torch.sign(x) * torch.sign(y) * torch.floor_divide(x.abs(), y.abs())


def _whole(x: Elements, y: Elements, exact: Callable[[Tensor, Tensor], Tensor], curve: Curve) -> Elements:
    """A rounded quotient.

    `x/y` never rises or never falls in either, so its range, and that of the rounded one, is between corners. These are
    exact; the planes are over quotients that are rounded outward, lest a jump be missed by a rounding error. Large
    quotients, of which a floating-point number does not have all digits, are never known, and corners of them are not exact.
    """
    outside = _by_zero(x.box, y.box)
    ends = [torch.where(outside, 1, end) for end in (y.box.lower, y.box.upper)]
    corners = [exact(a, b).detach() for a in (x.box.lower, x.box.upper) for b in ends]
    lower, upper = torch.stack(corners).amin(0), torch.stack(corners).amax(0)
    quotient = _quotient(x, y.where(~outside, 1.0))
    infinity = torch.full_like(lower, math.inf)
    wide = quotient.box.lower, quotient.box.upper
    for _ in range(4):  # a reciprocal, a product, and as much again for how far they are apart
        wide = torch.nextafter(wide[0], -infinity), torch.nextafter(wide[1], infinity)
    found = replace(quotient, box=Interval(*wide)).apply(curve)
    size = lower.abs().maximum(upper.abs())
    large = ~(size < 0.25 / torch.finfo(size.dtype).eps)
    spread = torch.where(large, 4 * torch.finfo(size.dtype).eps * size, 0)
    lower, upper = lower - spread, upper + spread
    known = (lower == upper) & ~large
    below, above = (torch.where(known, 0, weights) for weights in (found.below, found.above))
    low, up = torch.where(known, lower, found.low), torch.where(known, upper, found.up)
    return Elements(below, low, above, up, Interval(lower, upper))


def _floor_divide(x: Elements, y: Elements) -> Elements:
    return _whole(x, y, _exact_floor, FLOOR)


def _remainder(x: Elements, y: Elements) -> Elements:
    """Between zero and the divisor, whose sign it has."""
    zero, quotient = torch.zeros_like(y.box.lower), _floor_divide(x, y)
    sign = Interval(y.box.lower.minimum(zero), y.box.upper.maximum(zero))
    return _left(x, y, quotient, sign)


def _fmod(x: Elements, y: Elements) -> Elements:
    """No larger than the divisor or the dividend, whose sign it has."""
    zero = torch.zeros_like(y.box.lower)
    size = y.box.lower.abs().maximum(y.box.upper.abs())
    low, up = x.box.lower.minimum(zero).maximum(-size), x.box.upper.maximum(zero).minimum(size)
    return _left(x, y, _whole(x, y, _exact_trunc, TRUNC), Interval(low, up))


def _left(x: Elements, y: Elements, quotient: Elements, box: Interval) -> Elements:
    """`x − y · quotient`, which lies in a box.

    The difference cancels, so that its rounding is relative to what it is made of, and not to what is left.
    """
    left = x - y * quotient
    sizes = [part.box.lower.abs().maximum(part.box.upper.abs()).detach() for part in (x, y, quotient)]
    product = sizes[1] * sizes[2]
    off = torch.where(product == 0, 0, _ROUNDINGS * torch.finfo(product.dtype).eps * (sizes[0] + product))
    lower, upper = left.box.lower - off, left.box.upper + off
    inside = lower >= box.lower, upper <= box.upper  # false where it is not a number
    known = Interval(torch.where(inside[0], lower, box.lower), torch.where(inside[1], upper, box.upper))
    return replace(left, low=left.low - off, up=left.up + off, box=known)


#: How many roundings there are at most behind what a division leaves.
_ROUNDINGS = 16


FLOOR_DIVIDE: Rule = of_elements(("self", "other"), _floor_divide, outside=_by_zero)
REMAINDER: Rule = of_elements(("self", "other"), _remainder, outside=_by_zero)
FMOD: Rule = of_elements(("self", "other"), _fmod, outside=_by_zero)


def divide_with_mode(self: Tensor, other: Tensor | float, *, rounding_mode: str | None) -> Tensor:
    """Division rounded to a whole number, by an operator of its own for each way of rounding."""
    if rounding_mode is None:
        return torch.div(self, other)
    if rounding_mode == "floor":
        return torch.floor_divide(self, other)
    return torch.trunc(torch.div(self, other))


def round_decimals(self: Tensor, *, decimals: int) -> Tensor:
    """Rounding of a product with a power of ten, which is itself rounded: next to a tie it falls to either side."""
    if decimals < 0:
        return torch.round(self / 10.0**-decimals) * 10.0**-decimals
    return torch.round(self * 10.0**decimals) / 10.0**decimals


# ---------------------------------------------------------------------- angles


def _angle_range(y: Interval, x: Interval) -> Interval:
    """The exact range of `atan2`, or the whole circle where the box meets the cut `y = 0, x ≤ 0`."""
    cut = (y.lower <= 0) & (y.upper >= 0) & (x.lower <= 0)
    sides = [torch.where(cut, 1, end) for end in (x.lower, x.upper)]  # the origin has no derivative
    corners = torch.stack([torch.atan2(a, b) for a in (y.lower, y.upper) for b in sides])
    whole = torch.full_like(y.lower, math.pi)
    return Interval(torch.where(cut, -whole, corners.amin(0)), torch.where(cut, whole, corners.amax(0)))


def _angle(y: Elements, x: Elements) -> Elements:
    """`atan(y/x)` to the right, else `±π/2 − atan(x/y)` above and below, or the range, whichever is closer at the centre.

    To the right, where angles may be tiny, what is left of a right angle would have its rounding, and not their own.
    """
    to_right, off = x.box.lower > 0, (y.box.lower > 0) | (y.box.upper < 0)
    right = _quotient(y, x.where(to_right, 1.0)).apply(ATAN)
    around = -_quotient(x, y.where(off, 1.0)).apply(ATAN)
    quarter = torch.full_like(y.box.lower, math.pi / 2)
    shift = torch.where(y.box.lower > 0, quarter, -quarter)
    around = replace(around, low=around.low + shift, up=around.up + shift)
    box = _angle_range(y.box, x.box)
    zero = torch.zeros_like(y.below)
    flat = Elements(zero, box.lower, zero, box.upper, box)
    return flat.or_better(right, to_right, (y, x)).or_better(around, off & ~to_right, (y, x))


ATAN2: Rule = of_elements(("self", "other"), _angle)


def register(registry: OperatorRegistry) -> None:
    """Register this file's rules and decompositions."""
    registry.register(aten.atan2.default, ATAN2)
    registry.register(aten.pow.Tensor_Tensor, POWER)
    for op in (aten.remainder.Tensor, aten.remainder.Scalar):
        registry.register(op, REMAINDER)
    for op in (aten.fmod.Tensor, aten.fmod.Scalar):
        registry.register(op, FMOD)
    for op in (aten.floor_divide.default, aten.floor_divide.Scalar):
        registry.register(op, FLOOR_DIVIDE)
    for op in (aten.div.Tensor_mode, aten.div.Scalar_mode):
        registry.decompose(op, divide_with_mode)
    registry.decompose(aten.round.decimals, round_decimals)
    for op in (aten.xlogy.Tensor, aten.xlogy.Scalar_Self, aten.xlogy.Scalar_Other):
        registry.decompose(op, xlogy)
    registry.decompose(aten.special_xlog1py.default, xlog1py)
