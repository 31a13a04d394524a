"""Sine and cosine on any box, tangent inside one period."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_core.plugins import OperatorRegistry
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

    def dips(self, lo: Tensor, hi: Tensor, k: Tensor, side: int) -> tuple[Point, ...]:
        return self._touching(lo, hi, k.detach(), side)

    @property
    def polygonal(self) -> bool:
        return False

    def vertices(self, lo: Tensor, hi: Tensor) -> tuple[Point, ...]:
        m = (lo / 2 + hi / 2).detach()
        points = [
            clip(self._extremum(m, side) + shift, lo, hi) for side in (LOWER, UPPER) for shift in (0, _PERIOD)
        ]
        first, second = (points[0], points[1]), (points[2], points[3])
        swap = first[0] > second[0]
        low, high = torch.where(swap, second[0], first[0]), torch.where(swap, first[0], second[0])
        low2, high2 = torch.where(swap, second[1], first[1]), torch.where(swap, first[1], second[1])
        return tuple((x, self.f(x)) for x in (low, high, low2, high2))

    def spans(self, lo: Tensor, hi: Tensor, side: int) -> tuple[Span, ...]:
        nearest = self._extremum((lo / 2 + hi / 2).detach(), side)
        return tuple(self._span(nearest + shift, lo, hi, side) for shift in (0, _PERIOD))

    def hull(self, lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
        lower, upper = self.f(lo).minimum(self.f(hi)), self.f(lo).maximum(self.f(hi))
        flat = torch.zeros_like(lo)
        for _, y in self._touching(lo, hi, flat, LOWER):
            lower = lower.minimum(y)
        for _, y in self._touching(lo, hi, flat, UPPER):
            upper = upper.maximum(y)
        return lower, upper

    def bent(self, lo: Tensor, hi: Tensor) -> Tensor:
        return lo < hi

    def _touching(self, lo: Tensor, hi: Tensor, k: Tensor, side: int) -> tuple[Point, Point]:
        k = k.clamp(-1, 1)
        base = -side * k.acos() - self.phase
        low, high = ((lo - base) / _PERIOD).detach(), ((hi - base) / _PERIOD).detach()
        # Rounded outward, so that a touching point at the very end of the box is not missed.
        slack = 4 * torch.finfo(lo.dtype).eps
        first = (low - slack * (1 + low.abs())).ceil()
        last = (high + slack * (1 + high.abs())).floor()
        found = (first <= last) & (lo < hi)
        value = -side * ((1 - k) * (1 + k)).sqrt()

        def point(turn: Tensor) -> Point:
            x = torch.where(found, (base + _PERIOD * turn).maximum(lo.detach()).minimum(hi.detach()), lo)
            return x, torch.where(found, value, self.f(lo))

        return point(first), point(last)

    def _extremum(self, m: Tensor, side: int) -> Tensor:
        """The last trough (crest) that is not to the right of `m`."""
        base = -side * math.pi / 2 - self.phase
        return base + _PERIOD * ((m - base) / _PERIOD).floor()

    def _span(self, at: Tensor, lo: Tensor, hi: Tensor, side: int) -> Span:
        start, end = clip(at - math.pi / 2, lo, hi), clip(at + math.pi / 2, lo, hi)
        return Span(start, end, lambda k: at + side * k.clamp(-1, 1).asin(), self._jet)


SIN = Wave(f=torch.sin, df=torch.cos, inside=0.0)
COS = Wave(f=torch.cos, df=lambda x: -x.sin(), inside=0.0, phase=math.pi / 2)


@dataclass(frozen=True, eq=False)
class Tangent(Curve):
    """`tan(x)` between two poles: concave up to the middle of the period, convex after."""

    @property
    def polygonal(self) -> bool:
        return False

    def spans(self, lo: Tensor, hi: Tensor, side: int) -> tuple[Span, ...]:
        middle = _middle(lo, hi)
        center = clip(middle, lo, hi)
        start, end = (lo, center) if side == CONCAVE else (center, hi)

        def touch(k: Tensor) -> Tensor:
            return middle + side * (k - 1).clamp(min=0).sqrt().atan()

        return (Span(start, end, touch, self._jet, from_left=side == CONVEX, from_right=side == CONCAVE),)

    def bent(self, lo: Tensor, hi: Tensor) -> Tensor:
        return lo < hi


def _middle(lo: Tensor, hi: Tensor) -> Tensor:
    return (math.pi * ((lo / 2 + hi / 2) / math.pi).round()).detach()


def _across_pole(lo: Tensor, hi: Tensor) -> Tensor:
    """Whether a pole is in the box; the tangent of a rounded number tells the last doubt."""
    middle = _middle(lo, hi)
    inside = (lo > middle - math.pi / 2) & (hi < middle + math.pi / 2) & (lo.tan() <= hi.tan())
    return ~inside


TAN = Tangent(f=torch.tan, df=lambda x: 1 + x.tan().square(), monotone=1, outside=_across_pole, inside=0.0)


def register(registry: OperatorRegistry) -> None:
    """Register the rules of this file."""
    aten = torch.ops.aten
    registry.register(aten.sin.default, Unary(SIN))
    registry.register(aten.cos.default, Unary(COS))
    registry.register(aten.tan.default, Unary(TAN))
