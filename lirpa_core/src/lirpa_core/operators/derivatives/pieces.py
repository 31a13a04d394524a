"""Derivatives with jumps: those of ReLU and other activations with kinks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lirpa_core.operators.activation.gated import FAR
from lirpa_core.rules.unary import CONCAVE, CONVEX, Arc, Curve, Jump
from lirpa_core.rules.unary.curve import Map, Point, Position, clip


@dataclass(frozen=True, eq=False)
class OneSided(Curve):
    """A derivative that at a kink has both one-sided values, and all between them.

    So the bounds hold for every element of Clarke's generalised derivative, whichever of them autograd chooses. A box that
    only touches the kink knows both sides. One that is nothing but the kink has autograd's value: there the operand never moves.
    """

    def vertices(self, lo: Tensor, hi: Tensor) -> tuple[Point, ...]:
        points: list[Point] = []
        for corner in self.corners:
            at: Position = corner.at if isinstance(corner, Jump) else corner
            x = clip(at, lo, hi)
            y = self.f(x)
            if isinstance(corner, Jump):
                here = (lo <= at) & (at <= hi) & (lo < hi)
                points.append((x, torch.where(here, corner.left, y)))
                points.append((x, y))
                points.append((x, torch.where(here, corner.right, y)))
            else:
                points.append((x, y))
        return tuple(points)


def steps(f: Map, jumps: Sequence[tuple[float, float, float]], slope: Map = torch.zeros_like) -> Curve:
    """A derivative that is straight between its jumps.

    Args:
        f: The derivative, with the values at kinks that autograd gives it.
        jumps: Where, and the one-sided values.
        slope: Its own derivative.
    """
    corners = tuple([Jump(*jump) if jump[1] != jump[2] else jump[0] for jump in jumps])
    return OneSided(rounding="relative", f=f, df=slope, corners=corners, inside=0.0)


def between(values: Sequence[float], places: Sequence[float], inclusive: Sequence[str]) -> Curve:
    """A staircase.

    Args:
        values: From left to right.
        places: Of the jumps, in rising order.
        inclusive: For each, to which side its place belongs, `"left"` or `"right"`.
    """

    def f(x: Tensor) -> Tensor:
        y = torch.full_like(x, values[0])
        for value, at, side in zip(values[1:], places, inclusive, strict=True):
            y = torch.where(x > at if side == "left" else x >= at, value, y)
        return y

    jumps = [(at, a, b) for at, (a, b) in zip(places, itertools.pairwise(values), strict=True)]
    return steps(f, jumps)


def hardswish(order: int) -> Curve:
    """0, then `x / 3 + 1/2`, then 1; or the derivative of that."""
    if order == 1:
        curve = steps(
            lambda x: torch.where(x <= -3, 0.0, torch.where(x < 3, x / 3 + 0.5, 1.0)),
            [(-3.0, 0.0, -0.5), (3.0, 1.5, 1.0)],
            lambda x: torch.where(x.abs() < 3, 1 / 3, torch.zeros_like(x)),
        )
        return replace(curve, rounding="absolute", reach=4.0)
    return between((0.0, 1 / 3, 0.0), (-3.0, 3.0), ("right", "left")) if order == 2 else ZERO


def elu(order: int, alpha: float, scale: float, rate: float) -> Curve:
    """`scale · alpha · rateⁿ · exp(rate · x)` up to zero, and a constant after."""
    left, right = scale * alpha * rate**order, scale if order == 1 else 0.0
    inverse: Callable[[Tensor], Tensor] = lambda k: (k / (left * rate)).clamp(min=0).log() / rate  # noqa: E731
    return OneSided(
        f=lambda x: torch.where(x <= 0, left * (rate * x.clamp(max=0)).exp(), right),
        df=lambda x: torch.where(x <= 0, left * rate * (rate * x.clamp(max=0)).exp(), 0.0),
        arcs=(Arc(CONVEX if left > 0 else CONCAVE, end=0.0, inverse=inverse),) if left * rate != 0 else (),
        corners=(Jump(0.0, left, right) if left != right else 0.0,),
        inside=0.0,
        reach=FAR / rate,
    )


def softsign(order: int) -> Curve:
    """`x / (1 + |x|)`, or its derivative `1 / (1 + |x|)²`."""
    if order == 0:
        return Curve(
            f=lambda x: x / (1 + x.abs()),
            df=lambda x: (1 + x.abs()).square().reciprocal(),
            arcs=(
                Arc(CONVEX, end=0.0, inverse=lambda k: 1 - k.clamp(min=0).rsqrt()),
                Arc(CONCAVE, start=0.0, inverse=lambda k: k.clamp(min=0).rsqrt() - 1),
            ),
            monotone=1,
            rounding="relative",
            inside=0.0,
        )

    def place(k: Tensor) -> Tensor:
        return (2 / k.clamp(min=0)).pow(1 / 3) - 1

    return OneSided(
        rounding="relative",
        f=lambda x: (1 + x.abs()).square().reciprocal(),
        df=lambda x: -2 * x.sign() * (1 + x.abs()).pow(-3),
        arcs=(
            Arc(CONVEX, end=0.0, inverse=lambda k: -place(k)),
            Arc(CONVEX, start=0.0, inverse=lambda k: place(-k)),
        ),
        corners=(0.0,),
        inside=0.0,
    )


def cut(curve: Curve, at: float, left: float, right: float, rate: float, threshold: float) -> Curve:
    """A curve up to a place, and a constant after; as softplus is, where `rate · x` exceeds its threshold."""

    def beyond(x: Tensor) -> Tensor:
        return x * rate > threshold

    slope = curve.slope
    arcs = [
        replace(
            arc,
            end=_least(arc.end, at),
            anchor=_least(arc.anchor, at),
            limit=arc.limit if arc.start is None else None,  # what reached to plus infinity has an end now
        )
        for arc in curve.arcs
        if not isinstance(arc.start, float) or arc.start < at
    ]
    return OneSided(
        f=lambda x: torch.where(beyond(x), right, curve.f(x)),
        df=lambda x: torch.where(beyond(x), 0.0, slope(x)),
        arcs=tuple(arcs),
        corners=(Jump(at, left, right),),
        extrema=tuple([x for x in curve.extrema if isinstance(x, float) and x < at]),
        inside=0.0,
        reach=curve.reach,
        floor=curve.floor,
    )


def _least(place: Position | None, at: float) -> float:
    return min(place, at) if isinstance(place, float) else at


#: What is left where there is nothing left to differentiate.
ZERO = Curve(rounding="exact", f=torch.zeros_like, df=torch.zeros_like, monotone=1)
