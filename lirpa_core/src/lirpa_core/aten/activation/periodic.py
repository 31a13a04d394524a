"""Sine and cosine on any box, tangent inside one period."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_core.aten.activation.registrar import Registrar
from lirpa_core.rules.unary import CONCAVE, CONVEX, LOWER, UPPER, Curve, Point, Span, Unary, clip

_PERIOD = 2 * math.pi


@dataclass(frozen=True, eq=False)
class Wave(Curve):
    """`sin(x + phase)`.

    A line of slope `k` touches the curve from below at `-arccos(k) - phase`, and from above at
    `arccos(k) - phase`, plus any number of periods; of those in the box the first and the last
    matter. The value there is known exactly, `-sqrt(1 - k²)` or `sqrt(1 - k²)`, so that a rounded
    touching point costs no more than a rounding error of `kx`, however far it is from zero.
    """

    phase: float = 0.0

    def dips(self, l: Tensor, u: Tensor, k: Tensor, side: int) -> tuple[Point, ...]:
        return self._touching(l, u, k.detach(), side)

    def vertices(self, l: Tensor, u: Tensor) -> tuple[Point, ...]:
        m = (l / 2 + u / 2).detach()
        points = [clip(self._extremum(m, side) + shift, l, u) for side in (LOWER, UPPER) for shift in (0, _PERIOD)]
        first, second = (points[0], points[1]), (points[2], points[3])
        swap = first[0] > second[0]
        low, high = torch.where(swap, second[0], first[0]), torch.where(swap, first[0], second[0])
        low2, high2 = torch.where(swap, second[1], first[1]), torch.where(swap, first[1], second[1])
        return tuple((x, self.f(x)) for x in (low, high, low2, high2))

    @property
    def straight_edges(self) -> bool:
        return False

    def spans(self, l: Tensor, u: Tensor, side: int) -> tuple[Span, ...]:
        nearest = self._extremum((l / 2 + u / 2).detach(), side)
        return tuple(self._span(nearest + shift, l, u, side) for shift in (0, _PERIOD))

    def hull(self, l: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        lower, upper = self.f(l).minimum(self.f(u)), self.f(l).maximum(self.f(u))
        flat = torch.zeros_like(l)
        for _, y in self._touching(l, u, flat, LOWER):
            lower = lower.minimum(y)
        for _, y in self._touching(l, u, flat, UPPER):
            upper = upper.maximum(y)
        return lower, upper

    def bent(self, l: Tensor, u: Tensor) -> Tensor:
        return l < u

    def _touching(
        self, l: Tensor, u: Tensor, k: Tensor, side: int
    ) -> tuple[Point, Point]:
        k = k.clamp(-1, 1)
        base = -side * k.acos() - self.phase
        low, high = ((l - base) / _PERIOD).detach(), ((u - base) / _PERIOD).detach()
        # Rounded outward, so that a touching point at the very end of the box is not missed.
        slack = 4 * torch.finfo(l.dtype).eps
        first = (low - slack * (1 + low.abs())).ceil()
        last = (high + slack * (1 + high.abs())).floor()
        found = (first <= last) & (l < u)
        value = -side * ((1 - k) * (1 + k)).sqrt()

        def point(turn: Tensor) -> Point:
            x = torch.where(found, (base + _PERIOD * turn).maximum(l.detach()).minimum(u.detach()), l)
            return x, torch.where(found, value, self.f(l))

        return point(first), point(last)

    def _extremum(self, m: Tensor, side: int) -> Tensor:
        """The last trough (crest) that is not to the right of `m`."""
        base = -side * math.pi / 2 - self.phase
        return base + _PERIOD * ((m - base) / _PERIOD).floor()

    def _span(self, at: Tensor, l: Tensor, u: Tensor, side: int) -> Span:
        start, end = clip(at - math.pi / 2, l, u), clip(at + math.pi / 2, l, u)
        return Span(start, end, lambda k: at + side * k.clamp(-1, 1).asin(), self._jet)


SIN = Wave(f=torch.sin, df=torch.cos, inside=0.0)
COS = Wave(f=torch.cos, df=lambda x: -x.sin(), inside=0.0, phase=math.pi / 2)


@dataclass(frozen=True, eq=False)
class Tangent(Curve):
    """`tan(x)` between two poles: concave up to the middle of the period, convex after."""

    def spans(self, l: Tensor, u: Tensor, side: int) -> tuple[Span, ...]:
        middle = _middle(l, u)
        center = clip(middle, l, u)
        start, end = (l, center) if side == CONCAVE else (center, u)

        def touch(k: Tensor) -> Tensor:
            return middle + side * (k - 1).clamp(min=0).sqrt().atan()

        return (Span(start, end, touch, self._jet, None, side == CONVEX, side == CONCAVE),)

    def bent(self, l: Tensor, u: Tensor) -> Tensor:
        return l < u


def _middle(l: Tensor, u: Tensor) -> Tensor:
    return (math.pi * ((l / 2 + u / 2) / math.pi).round()).detach()


def _across_pole(l: Tensor, u: Tensor) -> Tensor:
    """Whether a pole is in the box; the tangent of a rounded number tells the last doubt."""
    middle = _middle(l, u)
    inside = (l > middle - math.pi / 2) & (u < middle + math.pi / 2) & (l.tan() <= u.tan())
    return ~inside


TAN = Tangent(
    f=torch.tan, df=lambda x: 1 + x.tan().square(), monotone=1, outside=_across_pole, inside=0.0
)


def register(registry: Registrar) -> None:
    """Register the rules of this file."""
    aten = torch.ops.aten
    registry.register(aten.sin.default, Unary(SIN))
    registry.register(aten.cos.default, Unary(COS))
    registry.register(aten.tan.default, Unary(TAN))
