"""Functions of two variables, with the exact minimum of their difference to any plane over a box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from lirpa_core.linear import Interval
from lirpa_core.operators import SIGMOID, TANH
from lirpa_core.rules.relaxations import extremes, product_range
from lirpa_core.rules.unary import LOWER, UPPER, Curve, point_of_slope


class Box(NamedTuple):
    """A box of two variables; all tensors of one shape."""

    lx: Tensor
    ux: Tensor
    ly: Tensor
    uy: Tensor


class Jet(NamedTuple):
    """Derivatives of a function of two variables."""

    x: Tensor
    y: Tensor
    xx: Tensor
    xy: Tensor
    yy: Tensor


class Least(NamedTuple):
    """A certified lower bound of a minimum, and where about it is attained."""

    value: Tensor
    x: Tensor
    y: Tensor

    def least(self, other: Least) -> Least:
        """The smaller of two, element by element; in a tie (up to rounding) the point of the first."""
        take = clearly_less(other.value, self.value)
        return Least(
            self.value.minimum(other.value),
            torch.where(take, other.x, self.x),
            torch.where(take, other.y, self.y),
        )


def clearly_less(a: Tensor, b: Tensor) -> Tensor:
    """Whether `a < b` by more than rounding, so that choices do not hang on the last digit."""
    slack = 64 * torch.finfo(a.dtype).eps * (a.abs() + b.abs())
    return a.detach() < (b - torch.where(slack.isfinite(), slack, 0)).detach()


def held(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """A point that moves with the end of the box at which it is; elsewhere it stands still.

    The value there of what it minimises then has the derivative of the minimum (the envelope theorem).
    """
    return torch.where(x == low, low, torch.where(x == high, high, x))


class Surface(Protocol):
    """A function of two variables that is odd in the second: `f(x, −y) = −f(x, y)`."""

    def value(self, x: Tensor, y: Tensor) -> Tensor:
        """`f(x, y)`."""

    @property
    def settling(self) -> int:
        """Steps of Newton's method that a point of a rough `least` needs for all digits."""

    def least(self, box: Box, a: Tensor, b: Tensor, exact: bool = False) -> Least:
        """The minimum of `f(x, y) − ax − by` over the box, never overestimated, for any slopes.

        Args:
            box: The box.
            a: Slope by `x`.
            b: Slope by `y`.
            exact: Whether to search for all digits; else for a rough idea of the minimum.
        """

    def range(self, box: Box) -> Interval:
        """The exact range over the box."""

    def jet(self, x: Tensor, y: Tensor) -> Jet:
        """The first and second derivatives of `f`."""

    def slope_range(self, box: Box) -> tuple[Tensor, Tensor, Tensor]:
        """A bound of `|∂f/∂x|`, and ends of `∂f/∂y`, over the box; to keep slopes out of rounding's way."""


def at_corners(surface: Surface, box: Box) -> Interval:
    """The range of a surface that is monotone in each variable whatever the other is."""
    a, b, c, d = (surface.value(x, y) for x in (box.lx, box.ux) for y in (box.ly, box.uy))
    return Interval(*extremes(a, b, c, d))


def edge(curve: Curve, c: Tensor, k: Tensor, lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
    """The minimum of `c·f(x) − kx` over an interval, for an S-shaped `f` that bends at zero.

    `c·f` is convex on one side of zero, where the minimum may be inside; elsewhere it is at an end. At the
    point found the function lies above its tangent, so that an inaccurate point costs no soundness.

    Returns:
        The minimum, never overestimated, and where about it is.
    """
    start = torch.where(c > 0, lo, hi.minimum(lo.clamp(min=0))).detach()
    end = torch.where(c > 0, lo.maximum(hi.clamp(max=0)), hi).detach()
    negative, positive = curve.arcs[0].inverse, curve.arcs[1].inverse
    assert negative is not None and positive is not None
    ratio = (k / torch.where(c == 0, 1, c)).detach()
    x = torch.where(c > 0, negative(ratio), positive(ratio))
    x = torch.where(x.isnan(), start, x.maximum(start).minimum(end))
    growth = (c * curve.slope(x) - k).detach()
    margin = growth.clamp(min=0) * (x - start) + (-growth).clamp(min=0) * (end - x)
    moving = held(x, lo, hi)
    value = c * curve.f(moving) - k * moving - margin
    for point in (lo, hi):
        at = c * curve.f(point) - k * point
        x, value = torch.where(clearly_less(at, value), point.detach(), x), value.minimum(at)
    return value, x


@dataclass(frozen=True)
class GatedValue:
    """`σ(x)·y`: linear in `y`, so that every minimum is at an end of `y`."""

    settling = 0

    def value(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.sigmoid(x) * y

    def least(self, box: Box, a: Tensor, b: Tensor, exact: bool = False) -> Least:
        found = []
        for y in (box.ly, box.uy):
            value, x = edge(SIGMOID, y, a, box.lx, box.ux)
            found.append(Least(value - b * y, x, y.detach()))
        return found[0].least(found[1])

    def range(self, box: Box) -> Interval:
        return at_corners(self, box)

    def jet(self, x: Tensor, y: Tensor) -> Jet:
        s, r = torch.sigmoid(x), torch.sigmoid(-x)
        first = s * r
        return Jet(first * y, s, first * (r - s) * y, first, torch.zeros_like(s))

    def slope_range(self, box: Box) -> tuple[Tensor, Tensor, Tensor]:
        return box.ly.abs().maximum(box.uy.abs()) / 4, torch.zeros_like(box.lx), torch.ones_like(box.lx)


@dataclass(frozen=True)
class CurveTimesValue:
    """`f(x)·y` for any smooth curve `f`, SiLU and GELU say: linear in `y`.

    Attributes:
        curve: `f`.
        steep: A bound of `|f′|`.
    """

    curve: Curve
    steep: float

    settling = 3

    def value(self, x: Tensor, y: Tensor) -> Tensor:
        return self.curve.f(x) * y

    def least(self, box: Box, a: Tensor, b: Tensor, exact: bool = False) -> Least:
        y = torch.stack([box.ly, box.uy])  # [2, ..]: both ends at once, because small tensors cost the same
        steps = 12 if exact else 4
        value, x = self._edge(y, a, box.lx.expand_as(y), box.ux.expand_as(y), steps)
        low, high = (Least(*each) for each in zip(value - b * y, x, y.detach(), strict=True))
        return low.least(high)

    def range(self, box: Box) -> Interval:
        return Interval(*product_range(self.curve.hull(box.lx, box.ux), (box.ly, box.uy)))

    def jet(self, x: Tensor, y: Tensor) -> Jet:
        derivatives = self.curve.arcs[0].jet
        assert derivatives is not None
        first, second = derivatives(x)
        return Jet(first * y, self.curve.f(x), second * y, first, torch.zeros_like(first))

    def slope_range(self, box: Box) -> tuple[Tensor, Tensor, Tensor]:
        low, high = self.curve.hull(box.lx, box.ux)
        return box.ly.abs().maximum(box.uy.abs()) * self.steep, low, high

    def _edge(self, c: Tensor, k: Tensor, lo: Tensor, hi: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """The minimum of `c·f(x) − kx`, never overestimated: as `edge`, on every arc that `c` makes convex."""
        curve = self.curve
        value, x = c * curve.f(lo) - k * lo, lo.detach()
        at = c * curve.f(hi) - k * hi
        x, value = torch.where(clearly_less(at, value), hi.detach(), x), value.minimum(at)
        ratio = (k / torch.where(c == 0, 1, c)).detach()
        ratio = torch.where(ratio.isfinite(), ratio, 0)
        for side in (LOWER, UPPER):
            for span in curve.spans(lo.detach(), hi.detach(), side):
                z = point_of_slope(span, ratio, side, steps)
                z = torch.where(z.isnan(), span.start, z).maximum(span.start).minimum(span.end)
                growth = (c * curve.slope(z) - k).detach()
                margin = growth.clamp(min=0) * (z - span.start) + (-growth).clamp(min=0) * (span.end - z)
                moving = held(z, lo, hi)
                inner = c * curve.f(moving) - k * moving - margin
                inner = torch.where((side * c > 0) & (span.start < span.end), inner, torch.inf)
                x, value = torch.where(clearly_less(inner, value), z, x), value.minimum(inner)
        return value, x


@dataclass(frozen=True)
class GatedTanh:
    """`σ(x)·tanh(y)`.

    The Hessian is positive semidefinite only on `R = {y < 0, x ≥ φ(y)}` with `φ(y) = ln(1 + 1/(2 sinh² y))`,
    which is a convex set, because `φ″ = 4/cosh²(2y) + 2/sinh²(y) > 0`. So a minimum that is not on the edge of
    the box is in `R`, and there the function lies above its tangent plane at any point of `R`.
    """

    settling = 3

    def value(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.sigmoid(x) * torch.tanh(y)

    def least(self, box: Box, a: Tensor, b: Tensor, exact: bool = False) -> Least:
        best: Least | None = None
        for y in (box.ly, box.uy):
            value, x = edge(SIGMOID, torch.tanh(y), a, box.lx, box.ux)
            found = Least(value - b * y, x, y.detach())
            best = found if best is None else best.least(found)
        for x in (box.lx, box.ux):
            value, y = edge(TANH, torch.sigmoid(x), b, box.ly, box.uy)
            found = Least(value - a * x, x.detach(), y)
            best = found if best is None else best.least(found)
        assert best is not None
        bound, there = self._inside(box, a, b, 8 if exact else 4)
        # Of the points that are known, the one of the least value; what bounds the inside may be lower than any.
        return Least(best.value.minimum(bound), *best.least(there)[1:])

    def range(self, box: Box) -> Interval:
        return at_corners(self, box)

    def jet(self, x: Tensor, y: Tensor) -> Jet:
        s, r, t, q = torch.sigmoid(x), torch.sigmoid(-x), torch.tanh(y), TANH.slope(y)
        first, across = s * r, s * q
        return Jet(first * t, across, first * (r - s) * t, first * q, -2 * across * t)

    def slope_range(self, box: Box) -> tuple[Tensor, Tensor, Tensor]:
        steep = box.ly.abs().maximum(box.uy.abs()).tanh() / 4
        return steep, torch.zeros_like(box.lx), torch.ones_like(box.lx)

    def _inside(self, box: Box, a: Tensor, b: Tensor, steps: int) -> tuple[Tensor, Least]:
        """A bound of the minimum over what `R` has of the box, infinite if that is nothing, and a point with its value."""
        fixed, p, q = Box(*(t.detach() for t in box)), a.detach(), b.detach()
        possible = (fixed.ly < 0) & (_edge_of_convexity(fixed.ly) < fixed.ux) & (p < 0) & (q > 0)
        lx, ux = torch.where(possible, fixed.lx, 1), torch.where(possible, fixed.ux, 3)
        ly, uy = torch.where(possible, fixed.ly, -3), torch.where(possible, fixed.uy, -1)
        x, y = self._search(lx, ux, ly, uy, p, q, steps)
        # What of the box is in `R` is in this smaller box, over which the tangent plane is minimised.
        lx, uy = lx.maximum(_edge_of_convexity(ly)).minimum(x), uy.minimum(_last_convex(ux)).maximum(y)
        slopes = self.jet(x, y)
        gx, gy = slopes.x - p, slopes.y - q
        # R is on one side of every tangent of its edge, which takes up a push across where that is worth its distance.
        lean, beyond = _bending_edge(y)[0], x - _edge_of_convexity(y)
        push = (-gy / lean).clamp(min=0).minimum(gx.clamp(min=0))
        push = torch.where(beyond < (x - lx) + lean * (uy - y), push, 0)
        gx, gy = gx - push, gy + push * lean
        margin = gx.clamp(min=0) * (x - lx) + (-gx).clamp(min=0) * (ux - x) + push * beyond
        margin = margin + gy.clamp(min=0) * (y - ly) + (-gy).clamp(min=0) * (uy - y)
        moving_x, moving_y = held(x, box.lx, box.ux), held(y, box.ly, box.uy)
        value = torch.where(possible, self.value(moving_x, moving_y) - a * moving_x - b * moving_y, torch.inf)
        return value - margin, Least(value, x, y)

    def _search(
        self, lx: Tensor, ux: Tensor, ly: Tensor, uy: Tensor, a: Tensor, b: Tensor, steps: int
    ) -> tuple[Tensor, Tensor]:
        """About where the function is least: in `y` by Newton's method in a bracket, `x` following."""
        start, end = ly, uy.minimum(_last_convex(ux)).maximum(ly)
        falling = self._growth(torch.stack([start, end]), lx, ux, a, b)[1]
        at_start, at_end = falling[0] >= 0, falling[1] <= 0
        low, high, y = start, end, start / 2 + end / 2
        for _ in range(steps):
            _, value, growth = self._growth(y, lx, ux, a, b)
            low, high = torch.where(value <= 0, y, low), torch.where(value >= 0, y, high)
            newton = y - value / growth
            y = torch.where((newton >= low) & (newton <= high), newton, low / 2 + high / 2)
        y = torch.where(at_start, start, torch.where(at_end, end, y))
        return self._growth(y, lx, ux, a, b)[0], y

    def _growth(
        self, y: Tensor, lx: Tensor, ux: Tensor, a: Tensor, b: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The best `x` for a `y`, and the first and second derivative by `y` along these points."""
        inverse = SIGMOID.arcs[1].inverse
        assert inverse is not None
        edge, (lean, bend) = _edge_of_convexity(y), _bending_edge(y)
        x = inverse(a / torch.tanh(y))
        x = torch.where(x.isnan(), ux, x).maximum(lx).maximum(edge).minimum(ux)
        f = self.jet(x, y)
        # What `x` does as `y` moves: it keeps to the edge of R, or to where the slope is `a`, or stands still.
        on_edge, free = x == edge, (lx < x) & (x < ux) & (f.xx > 0)
        push = torch.where(on_edge, f.x - a, 0)
        along_edge = (2 * f.xy + f.xx * lean) * lean + push * bend
        along_slope = torch.where(free, -f.xy * f.xy / torch.where(free, f.xx, 1), 0)
        return x, f.y - b + push * lean, f.yy + torch.where(on_edge, along_edge, along_slope)


def _edge_of_convexity(y: Tensor) -> Tensor:
    """`φ(y)`, infinite at zero."""
    return (1 / (2 * torch.sinh(y).square())).log1p()


def _bending_edge(y: Tensor) -> tuple[Tensor, Tensor]:
    """`φ′` and `φ″`, for `y < 0`."""
    square = torch.sinh(y).square()
    c = 1 + 2 * square  # cosh 2y
    return -2 / (torch.tanh(y) * c), 4 / c.square() + 2 / square


def _last_convex(x: Tensor) -> Tensor:
    """The largest `y < 0` with `φ(y) = x`: `sinh² y = 1 / (2 (eˣ − 1))`."""
    return -torch.asinh((2 * torch.expm1(x)).rsqrt())
