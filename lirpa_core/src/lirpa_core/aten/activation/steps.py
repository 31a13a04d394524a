"""Functions with jumps: rounding, sign, Heaviside's step, comparisons.

A line below a staircase is below its corners, and those lie on one straight line between the first
and the last of them: so a few points span the hull of the graph, whatever the number of steps.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lirpa_core.aten.activation.registrar import Registrar
from lirpa_core.rules.call import Call
from lirpa_core.rules.unary import Curve, Jump, Point, Unary, clip, parameter

Corner = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Staircase(Curve):
    """A rising function with steps of equal width and height.

    Attributes:
        upward: From a value of the function to where it is left for the next one.
        height: Distance of two values.
        landings: Values next to which the staircase changes its pace, such as zero for `trunc`.
    """

    upward: Corner = torch.ceil
    height: float = 1.0
    landings: tuple[float, ...] = ()

    def vertices(self, l: Tensor, u: Tensor) -> tuple[Point, ...]:
        bottom, top = self.f(l), self.f(u)
        steps = [bottom, *(clip(v, bottom, top) for v in self.landings), top - self.height]
        points = []
        for below in steps:
            below = below.detach()
            above = below + self.height
            jumps = (bottom <= below) & (above <= top)
            x = torch.where(jumps, clip(self.upward(below), l.detach(), u.detach()), l)
            points += [(x, torch.where(jumps, below, bottom)), (x, torch.where(jumps, above, bottom))]
        return tuple(points)

    @property
    def straight_edges(self) -> bool:
        return False

    def bent(self, l: Tensor, u: Tensor) -> Tensor:
        return self.f(l) != self.f(u)


def _staircase(f: Callable[[Tensor], Tensor], upward: Corner, **options: Any) -> Staircase:
    return Staircase(f=f, df=torch.zeros_like, monotone=1, upward=upward, **options)


FLOOR = _staircase(torch.floor, lambda y: y + 1)
CEIL = _staircase(torch.ceil, lambda y: y)
ROUND = _staircase(torch.round, lambda y: y + 0.5)
TRUNC = _staircase(torch.trunc, lambda y: torch.where(y < 0, y, y + 1), landings=(-1.0, 0.0))


def round_decimals(call: Call) -> Curve:
    """`round.decimals(self, decimals)`."""
    decimals = int(call["decimals"])
    height = 10.0**-decimals
    return _staircase(
        lambda x: torch.round(x, decimals=decimals), lambda y: y + height / 2, height=height
    )


def _step(f: Callable[[Tensor], Tensor], at: Any, left: float, right: float) -> Curve:
    return Curve(f=f, df=torch.zeros_like, corners=(Jump(at, left, right),))


SIGN = _step(torch.sign, 0.0, -1.0, 1.0)


def heaviside(call: Call) -> Curve:
    """`heaviside(self, values)`: the values at zero are constant."""
    values: Tensor = parameter(call, "values")

    def f(x: Tensor) -> Tensor:
        return torch.where(x == 0, values.to(x.dtype), (x > 0).to(x.dtype))

    return _step(f, 0.0, 0.0, 1.0)


#: Comparison, its value on the left and on the right of the other operand, and its mirror image.
_COMPARISONS: dict[str, tuple[Callable[[Any, Any], Any], float, float, str]] = {
    "gt": (operator.gt, 0.0, 1.0, "lt"),
    "ge": (operator.ge, 0.0, 1.0, "le"),
    "lt": (operator.lt, 1.0, 0.0, "gt"),
    "le": (operator.le, 1.0, 0.0, "ge"),
    "eq": (operator.eq, 0.0, 0.0, "eq"),
    "ne": (operator.ne, 1.0, 1.0, "ne"),
}


def _comparison(name: str) -> Callable[[Call], Curve]:
    """A comparison with a constant as a function with values 0 and 1, in the operand's dtype."""

    def curve(call: Call) -> Curve:
        compare, left, right, mirror = _COMPARISONS[name]
        constant = "other"
        if call.slot("self") is None:
            compare, left, right, _ = _COMPARISONS[mirror]
            constant = "self"
        at = parameter(call, constant)
        return _step(lambda x: compare(x, at).to(x.dtype), at, left, right)

    return curve


def register(registry: Registrar) -> None:
    """Register the rules of this file."""
    aten = torch.ops.aten
    registry.register(aten.floor.default, Unary(FLOOR))
    registry.register(aten.ceil.default, Unary(CEIL))
    registry.register(aten.round.default, Unary(ROUND))
    registry.register(aten.round.decimals, Unary(round_decimals))
    registry.register(aten.trunc.default, Unary(TRUNC))
    registry.register(aten.sign.default, Unary(SIGN))
    registry.register(aten.sgn.default, Unary(SIGN))
    registry.register(aten.heaviside.default, Unary(heaviside))
    for name in _COMPARISONS:
        overloads = getattr(aten, name)
        registry.register(overloads.Scalar, Unary(_comparison(name)))
        registry.register(overloads.Tensor, Unary(_comparison(name), operands=("self", "other")))
