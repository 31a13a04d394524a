"""What the author of a unary rule states: a function, and where it bends.

A `Curve` describes `f` by its corners (kinks and jumps) and its arcs (the stretches on which it is
strictly convex or concave); between them it is straight. That is enough to find the minimum and the
maximum of `f(x) - kx` over a box for *any* slope `k`, hence a sound line for any slope.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor

CONVEX: Final = 1
CONCAVE: Final = -1

#: The side of a line, as the sign of what is minimised. Convex arcs matter to lines below the curve.
LOWER: Final = CONVEX
UPPER: Final = CONCAVE

#: A place on the x axis: one number, or a tensor that broadcasts against the box.
Position: TypeAlias = float | Tensor

#: A point of the graph, `(x, f(x))`.
Point: TypeAlias = tuple[Tensor, Tensor]

Map: TypeAlias = Callable[[Tensor], Tensor]
#: `(k_lo, b_lo, k_up, b_up)`: slopes and intercepts of a line below and of one above; None for a zero.
Lines: TypeAlias = tuple[Tensor, Tensor | None, Tensor, Tensor | None]
Jet: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class Arc:
    """A stretch on which the curve is differentiable and convex, or concave, throughout.

    Attributes:
        bend: `CONVEX` or `CONCAVE`.
        start: Where the stretch begins; None for minus infinity.
        end: Where it ends; None for plus infinity.
        inverse: From a slope `k` to the point of this arc at which `f' = k`. A slope that the arc
            does not have should give a point beyond the end that is nearest to having it (infinite
            if need be); NaN counts as the start. It need not be accurate for bounds to be sound,
            only for them to be tight.
        jet: First and second derivative at once, for the search that replaces a missing `inverse`.
        anchor: A point of the arc where the curvature is large, at which that search begins.
        limit: Slope at the infinite end of an arc that flattens out exponentially, where Newton's
            method for the slope would crawl; the search then solves for its logarithm.
        alone: Whether no box reaches beyond this arc, because a pole is there.
    """

    bend: int
    start: Position | None = None
    end: Position | None = None
    inverse: Map | None = None
    jet: Jet | None = None
    anchor: float | None = None
    limit: float | None = None
    alone: bool = False


@dataclass(frozen=True, eq=False)
class Jump:
    """A discontinuity.

    Attributes:
        at: Where it is; the function has some value of its own there.
        left: Limit from the left.
        right: Limit from the right.
    """

    at: Position
    left: Position
    right: Position


@dataclass(frozen=True, eq=False)
class Span:
    """An arc cut to a box: `start` and `end` are inside it, equal where the arc does not reach it.

    Attributes:
        touch: From a slope to the point of the arc with that slope; None to search for it.
        jet: First and second derivative, for the search.
        anchor: Where the search begins.
        limit: As in `Arc`.
        from_left: Whether a tangent from the left end of the box may touch this arc.
        from_right: Whether a tangent from the right end of the box may touch this arc.
    """

    start: Tensor
    end: Tensor
    touch: Map | None
    jet: Jet
    anchor: float | None = None
    limit: float | None = None
    from_left: bool = True
    from_right: bool = True


@dataclass(frozen=True, eq=False)
class Curve:
    """A function of one variable with its parameters bound.

    Attributes:
        f: The function, elementwise and differentiable by autograd.
        df: Its derivative, one-sided at corners; None to derive it by forward differentiation.
        arcs: Where the curve bends, left to right. Elsewhere it is straight.
        corners: Kinks (a position) and jumps, left to right.
        extrema: Points inside arcs with a horizontal tangent; not needed where `monotone`.
        monotone: 1 if never decreasing, -1 if never increasing, 0 otherwise.
        shape: `CONVEX` or `CONCAVE` if the whole curve is (which includes its kinks; small jumps
            are tolerated), 0 otherwise. A short cut to the best slope.
        homogeneous: Whether `f(cx) = cf(x)` for all `c >= 0`, so that some lines pass through zero.
        outside: From `(lo, hi)` to where the box is not in the domain; None if that cannot be.
        inside: Some point of the domain at which everything is finite.
        singular: Points of the domain where the derivative (or the second) is infinite. An end
            of a box that is there, or all but there, gets no gradient.
        lines: From `(lo, hi)` to the lines that lose the least area, in closed form; default: they are found from
            corners and arcs. For a function that is defined everywhere.
        rounding: What a computed value of `f` may be off by: nothing, as where a value is only chosen (`"exact"`);
            a few units in its last digit (`"relative"`; a zero that underflowed has the sign of what it was, `-0.0` where the
            function is negative, because bounds of it keep that sign); or, where numbers of the operand's size cancel on the
            way, a few units in the operand's last digit besides (`"absolute"`).
        units: How many units that is, of roundoff; more where a kernel is known to be off by more.
        reach: The size of operands from which on an `"absolute"` error grows no more: what cancels there has gone to its limit,
            as where a gate is zero or one.
        exponential: Whether a product with the operand is rounded inside of an exponential that a `"relative"` value is made of,
            so that this is off by as many units as the exponent is large.
        floor: The size of operands down to which such an error shrinks with them: larger numbers than the operand cancel.
    """

    f: Map
    df: Map | None = None
    arcs: tuple[Arc, ...] = ()
    corners: tuple[Position | Jump, ...] = ()
    extrema: tuple[Position, ...] = ()
    monotone: int = 0
    shape: int = 0
    homogeneous: bool = False
    outside: Callable[[Tensor, Tensor], Tensor] | None = None
    inside: float = 1.0
    singular: tuple[float, ...] = ()
    lines: Callable[[Tensor, Tensor], Lines] | None = None
    rounding: Literal["exact", "relative", "absolute"] = "absolute"
    units: int = 16
    reach: float = math.inf
    floor: float = 0.0
    exponential: bool = False

    @property
    def jumps(self) -> bool:
        """Whether the curve has a jump among its corners."""
        return any(isinstance(corner, Jump) for corner in self.corners)

    @property
    def polygonal(self) -> bool:
        """Whether the curve is continuous and straight between its corners."""
        return len(self.arcs) == 0 and not self.jumps

    def slope(self, x: Tensor) -> Tensor:
        """`f'(x)`, with the shape of `f(x)`."""
        if self.df is not None:
            return self.df(x)
        derivative: Tensor = torch.func.jvp(self.f, (x,), (torch.ones_like(x),))[1]
        return derivative

    def finite_slope(self, x: Tensor) -> Tensor:
        """`f'(x)`, or zero where that is not finite; its gradient is finite too."""
        if len(self.arcs) == 0:
            return self.slope(x)
        finite = self.slope(x.detach()).isfinite()
        slope = self.slope(torch.where(finite, x, self.inside))
        return torch.where(finite, slope, torch.zeros_like(slope))

    def vertices(self, lo: Tensor, hi: Tensor) -> tuple[Point, ...]:
        """Points `(x, y)` of the graph's closure between the end points, left to right.

        With the end points and the arcs they must span the convex hull of the graph over the box.
        A corner outside the box gives an end point.
        """
        points = []
        for corner in self.corners:
            at = corner.at if isinstance(corner, Jump) else corner
            x = clip(at, lo, hi)
            y = self.f(x)
            if isinstance(corner, Jump):
                points.append((x, torch.where((lo < at) & (at <= hi), corner.left, y)))
                points.append((x, y))
                points.append((x, torch.where((lo <= at) & (at < hi), corner.right, y)))
            else:
                points.append((x, y))
        return tuple(points)

    def spans(self, lo: Tensor, hi: Tensor, side: int) -> tuple[Span, ...]:
        """The arcs that lines on this side can touch in their interior, cut to the box."""
        return tuple(
            Span(
                lo if arc.start is None else clip(arc.start, lo, hi),
                hi if arc.end is None else clip(arc.end, lo, hi),
                arc.inverse,
                arc.jet or self._jet,
                arc.anchor,
                arc.limit,
                arc.start is not None and not arc.alone,
                arc.end is not None and not arc.alone,
            )
            for arc in self.arcs
            if arc.bend == side
        )

    def dips(self, lo: Tensor, hi: Tensor, k: Tensor, side: int) -> tuple[Point, ...] | None:
        """Where `f(x) - kx` is least (`LOWER`) or greatest in closed form, or None to use the spans."""
        return None

    def hull(self, lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
        """The smallest and the largest value over the box."""
        at_l, at_u = self.f(lo), self.f(hi)
        if self.monotone:
            return (at_l, at_u) if self.monotone > 0 else (at_u, at_l)
        lower, upper = at_l.minimum(at_u), at_l.maximum(at_u)
        values = [y for _, y in self.vertices(lo, hi)] + [self.f(clip(x, lo, hi)) for x in self.extrema]
        for y in values:
            lower, upper = lower.minimum(y), upper.maximum(y)
        return lower, upper

    def bent(self, lo: Tensor, hi: Tensor) -> Tensor:
        """Where the curve is not one straight line over the box; False wherever `lo = hi`."""
        bent = torch.zeros_like(lo, dtype=torch.bool)
        for corner in self.corners:
            if isinstance(corner, Jump):
                bent = bent | ((lo <= corner.at) & (corner.at <= hi) & (lo < hi))
            else:
                bent = bent | ((lo < corner) & (corner < hi))
        if len(self.arcs) > 0:
            for side in (LOWER, UPPER):
                for span in self.spans(lo, hi, side):
                    bent = bent | (span.start < span.end)
        return bent

    def _jet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        derivatives = torch.func.jvp(self.slope, (x,), (torch.ones_like(x),))
        return derivatives[0], derivatives[1]


def clip(position: Position, lo: Tensor, hi: Tensor) -> Tensor:
    """The point of the box that is nearest to `position`."""
    above = lo.clamp(min=position) if isinstance(position, float | int) else lo.maximum(position)
    return above.minimum(hi)
