"""Bounds of functions of several operands, element by element, written as expressions of curves, products and maxima.

An `Elements` is a quantity with a plane below and a plane above it over the operands of one call, and with its box. Sums,
products (McCormick's planes), maxima and curves (their lines) of such quantities are such quantities: each step substitutes the
side of a plane that its sign asks for, as in forward linear bound propagation (Zhang et al. 2018), inside of one rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_core.linear.infinite import separated
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import Diagonal, align
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.rules.base import Rule
from lirpa_core.rules.call import Call, Const, Slot
from lirpa_core.rules.general import General
from lirpa_core.rules.relaxations.maximum import maximum_planes
from lirpa_core.rules.relaxations.products import product_range
from lirpa_core.rules.unary.curve import LOWER, UPPER, Curve
from lirpa_core.rules.unary.lines import default_slopes, intercept


@dataclass(frozen=True, eq=False)
class Elements:
    """A quantity bounded by planes over the operands of a call, which are `[k, B, *S]` together.

    Attributes:
        below: Coefficients of the plane below, `[k, B, *S]`.
        low: Its constant, `[B, *S]`.
        above: Coefficients of the plane above.
        up: Its constant.
        box: The smallest and the largest value.
    """

    below: Tensor
    low: Tensor
    above: Tensor
    up: Tensor
    box: Interval

    def __add__(self, other: Elements) -> Elements:
        box = Interval(self.box.lower + other.box.lower, self.box.upper + other.box.upper)
        return Elements(
            self.below + other.below, self.low + other.low, self.above + other.above, self.up + other.up, box
        )

    def __neg__(self) -> Elements:
        return Elements(
            -self.above, -self.up, -self.below, -self.low, Interval(-self.box.upper, -self.box.lower)
        )

    def __sub__(self, other: Elements) -> Elements:
        return self + -other

    def __mul__(self, other: Elements) -> Elements:
        """McCormick's planes, on either side the one that is better at the centre; boxes of constants lose nothing."""
        (a, b), (c, d) = (self.box.lower, self.box.upper), (other.box.lower, other.box.upper)
        x, y = self.box.midpoint, other.box.midpoint
        planes = []
        for side, corners in ((LOWER, ((a, c), (b, d))), (UPPER, ((a, d), (b, c)))):
            (p1, q1), (p2, q2) = corners  # p · y + q · x − p · q touches the product at x = p and at y = q
            first = side * ((p1 * y + q1 * x - p1 * q1) - (p2 * y + q2 * x - p2 * q2)) >= 0
            p, q = torch.where(first, p1, p2), torch.where(first, q1, q2)
            (of_x, of_1), (of_y, of_2) = self._side(q, side), other._side(p, side)
            planes += [of_x + of_y, of_1 + of_2 - p * q]
        return Elements(planes[0], planes[1], planes[2], planes[3], Interval(*product_range((a, b), (c, d))))

    def maximum(self, other: Elements) -> Elements:
        """The larger of two."""
        (a, b), (c, d) = (self.box.lower, self.box.upper), (other.box.lower, other.box.upper)
        planes = maximum_planes(torch.stack([a, c], -1), torch.stack([b, d], -1))
        below, above = planes.below.unbind(-1), planes.above.unbind(-1)  # none is negative
        return Elements(
            below[0] * self.below + below[1] * other.below,
            below[0] * self.low + below[1] * other.low,
            above[0] * self.above + above[1] * other.above,
            above[0] * self.up + above[1] * other.up + planes.bias,
            Interval(a.maximum(c), b.maximum(d)),
        )

    def minimum(self, other: Elements) -> Elements:
        """The smaller of two."""
        return -(-self).maximum(-other)

    def apply(self, curve: Curve) -> Elements:
        """A function of it; infinite where the box reaches outside of the function's domain."""
        lo, hi = self.box.lower, self.box.upper
        outside = None if curve.outside is None else curve.outside(lo, hi)
        if outside is not None:
            lo, hi = torch.where(outside, curve.inside, lo), torch.where(outside, curve.inside, hi)
        k_lo, k_up = default_slopes(curve, lo, hi)
        b_lo, b_up = intercept(curve, lo, hi, k_lo, LOWER), intercept(curve, lo, hi, k_up, UPPER)
        lower, upper = curve.hull(lo, hi)
        if outside is not None:
            k_lo, k_up = torch.where(outside, 0, k_lo), torch.where(outside, 0, k_up)
            b_lo, b_up = torch.where(outside, -torch.inf, b_lo), torch.where(outside, torch.inf, b_up)
            lower, upper = torch.where(outside, -torch.inf, lower), torch.where(outside, torch.inf, upper)
        (below, low), (above, up) = self._side(k_lo, LOWER), self._side(k_up, UPPER)
        return Elements(below, low + b_lo, above, up + b_up, Interval(lower, upper))

    def within(self, box: Interval) -> Elements:
        """The same, known to lie in another box too."""
        return Elements(
            self.below,
            self.low,
            self.above,
            self.up,
            Interval(self.box.lower.maximum(box.lower), self.box.upper.minimum(box.upper)),
        )

    def or_better(self, other: Elements, usable: Tensor, operands: Sequence[Elements]) -> Elements:
        """Either of two enclosures of the same quantity: on each side the plane that is closer at the centre of the operands.

        Args:
            other: The other one.
            usable: Where it holds.
            operands: The quantities that the planes are over.
        """

        def at_centre(weights: Tensor, bias: Tensor) -> Tensor:
            return bias + sum([(weights * x.below).sum(0) * x.box.midpoint for x in operands])

        lower = usable & (at_centre(other.below, other.low) > at_centre(self.below, self.low))
        upper = usable & (at_centre(other.above, other.up) < at_centre(self.above, self.up))
        return Elements(
            torch.where(lower, other.below, self.below),
            torch.where(lower, other.low, self.low),
            torch.where(upper, other.above, self.above),
            torch.where(upper, other.up, self.up),
            self.box,
        )

    def where(self, taken: Tensor, number: float) -> Elements:
        """The same where it is taken, and a number elsewhere."""
        below, above = torch.where(taken, self.below, 0), torch.where(taken, self.above, 0)
        ends = (self.low, self.up, self.box.lower, self.box.upper)
        low, up, lower, upper = (torch.where(taken, end, number) for end in ends)
        return Elements(below, low, above, up, Interval(lower, upper))

    def _side(self, factor: Tensor, side: int) -> tuple[Tensor, Tensor]:
        """The plane below (above) `factor ·` this."""
        same = factor >= 0 if side == LOWER else factor < 0
        weights, bias = torch.where(same, self.below, self.above), torch.where(same, self.low, self.up)
        return factor * weights, torch.where(factor == 0, 0, factor * bias)


#: From the quantities of the operands, in the order of their names, to the function's; None for an absent one.
Expression = Callable[..., Elements]


def of_elements(
    over: Sequence[str],
    expression: Expression,
    *,
    refuse: Callable[[Call], str | None] | None = None,
    outside: Callable[..., Tensor] | None = None,
) -> Rule:
    """Rule of a function of several operands, each of which may be perturbed.

    Args:
        over: Names of the operands.
        expression: The function, of one `Elements` an operand; None where the call has none.
        refuse: Says why a call cannot be bounded, or None.
        outside: Where boxes leave the domain, of one `Interval` an operand; None if that cannot be.
    """

    def evaluated(call: Call, inputs: tuple[Interval, ...]) -> Elements:
        boxes = [_box(call, name, inputs) for name in over]
        operands: list[Elements | None] = []
        k = len(call.shapes)
        for name, box in zip(over, boxes, strict=True):
            if box is None:
                operands.append(None)
                continue
            value, zero = call[name], torch.zeros_like(box.lower)
            weights = zero.expand(k, *zero.shape)
            if isinstance(value, Slot):
                pick = torch.arange(k, device=zero.device) == value.index
                weights = torch.where(pick.reshape(k, *(1,) * zero.dim()), torch.ones_like(zero), weights)
                operands.append(Elements(weights, zero, weights, zero, box))
            else:
                operands.append(Elements(weights, box.lower, weights, box.upper, box))
        return expression(*operands)

    def bound(call: Call, inputs: tuple[Interval, ...]) -> Interval:
        box = evaluated(call, inputs).box
        beyond = violation(call, inputs)
        if beyond is None:
            return box
        return Interval(torch.where(beyond, -torch.inf, box.lower), torch.where(beyond, torch.inf, box.upper))

    def violation(call: Call, inputs: tuple[Interval, ...]) -> Tensor | None:
        return None if outside is None else outside(*(_box(call, name, inputs) for name in over))

    def affine(call: Call, inputs: tuple[Interval, ...]) -> Relaxation:
        found, box = evaluated(call, inputs), bound(call, inputs)
        unknown = ~(found.below.isfinite().all(0) & found.above.isfinite().all(0))
        unknown = (
            unknown | ~(found.low.isfinite() & found.up.isfinite()) | box.lower.isinf() | box.upper.isinf()
        )
        # A box is better than a plane that is nowhere inside of it, and the only bound where there is no plane.
        low, up = _ends_of(call, inputs, found)
        flat_below, flat_above = unknown | (low.upper < box.lower), unknown | (up.lower > box.upper)

        def side(weights: Tensor, bias: Tensor, flat: Tensor, end: Tensor) -> Affine:
            weights, bias = torch.where(flat, 0, weights), torch.where(flat, end, bias)
            terms = tuple(Diagonal(weights[i], shape) for i, shape in enumerate(call.shapes))
            return Affine(terms, *separated(bias, call.infinite))

        return Relaxation(
            side(found.below, found.low, flat_below, box.lower),
            side(found.above, found.up, flat_above, box.upper),
        )

    return _OfElements(tuple(over), bound, affine, refuse=refuse, violation=violation)


@dataclass(frozen=True)
class _OfElements(General):
    """A general rule of a function with a domain.

    Attributes:
        violation: See `Rule.domain_violation`.
    """

    violation: Callable[[Call, tuple[Interval, ...]], Tensor | None] | None = None

    def domain_violation(self, call: Call, inputs: tuple[Interval | None, ...]) -> Tensor | None:
        """See `Rule.domain_violation`."""
        known = tuple([x for x in inputs if x is not None])
        return None if self.violation is None else self.violation(call, known)


def _ends_of(call: Call, inputs: tuple[Interval, ...], found: Elements) -> tuple[Interval, Interval]:
    """The ranges of the two planes over the operands' boxes."""
    rank = len(call.shape)
    ranges = []
    for weights, bias in ((found.below, found.low), (found.above, found.up)):
        lower = upper = bias
        for i, x in enumerate(inputs):
            a, b = weights[i] * align(x.lower, 1, rank), weights[i] * align(x.upper, 1, rank)
            lower, upper = lower + a.minimum(b), upper + a.maximum(b)
        ranges.append(Interval(lower, upper))
    return ranges[0], ranges[1]


def _box(call: Call, name: str, inputs: tuple[Interval, ...]) -> Interval | None:
    """The box of an operand, perturbed or constant, in the shape of the result; None for an absent one."""
    value, rank = call.arguments.get(name), len(call.shape)
    if value is None:
        return None
    if isinstance(value, Slot):
        box = inputs[value.index]
        ends = align(box.lower, 1, rank), align(box.upper, 1, rank)
    else:
        like = inputs[0].lower
        if isinstance(value, Const):
            fixed = align(value.value if value.batched else value.value[None], 1, rank).to(like.dtype)
        else:
            fixed = torch.full((1,) * (1 + rank), float(value), dtype=like.dtype, device=like.device)
        ends = fixed, fixed
    batch = max(x.lower.shape[0] for x in inputs)
    full = [
        end.expand(max(end.shape[0], batch) if end.shape[0] == 1 else end.shape[0], *call.shape)
        for end in ends
    ]
    return Interval(full[0], full[1])


__all__ = ["Elements", "Expression", "of_elements"]
