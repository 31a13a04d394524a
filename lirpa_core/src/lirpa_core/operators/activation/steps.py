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

from lirpa_core.operators.comparisons import comparison
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.call import Call
from lirpa_core.rules.precision import rounds_to_one_of_two
from lirpa_core.rules.unary import Curve, Jump, Point, Position, Unary, UnaryOrSeveral, clip, parameter
from lirpa_core.rules.unary.curve import Map


@dataclass(frozen=True, eq=False)
class Staircase(Curve):
    """A rising function with steps of width and height one.

    Attributes:
        upward: From a value of the function to where it is left for the next one.
        landings: Values next to which the staircase changes its pace, such as zero for `trunc`.
    """

    upward: Map = torch.ceil
    landings: tuple[float, ...] = ()

    @property
    def jumps(self) -> bool:
        return True

    def vertices(self, lo: Tensor, hi: Tensor) -> tuple[Point, ...]:
        bottom, top = self.f(lo).detach(), self.f(hi).detach()
        points = []
        landings: tuple[Position, ...] = (bottom, *self.landings, top - 1)
        for landing in landings:
            below = clip(landing, bottom, top)
            above = (below + 1).minimum(top)
            x = clip(self.upward(below), lo.detach(), hi.detach())
            x = torch.where(below < top, x, lo)
            points += [
                (x, torch.where(below < top, below, bottom)),
                (x, torch.where(below < top, above, bottom)),
            ]
        return tuple(points)

    def bent(self, lo: Tensor, hi: Tensor) -> Tensor:
        return self.f(lo) != self.f(hi)


def _staircase(f: Map, upward: Map, landings: tuple[float, ...] = ()) -> Staircase:
    return Staircase(
        rounding="exact",
        f=f,
        df=torch.zeros_like,
        monotone=1,
        upward=upward,
        landings=landings,
    )


FLOOR = _staircase(torch.floor, lambda y: y + 1)
CEIL = _staircase(torch.ceil, lambda y: y)
ROUND = _staircase(torch.round, lambda y: y + 0.5)
TRUNC = _staircase(torch.trunc, lambda y: torch.where(y < 0, y, y + 1), landings=(-1.0, 0.0))


def _step(f: Map, at: Any, left: float, right: float) -> Curve:
    return Curve(rounding="exact", f=f, df=torch.zeros_like, corners=(Jump(at, left, right),))


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


def refuse_open_threshold(call: Call) -> str | None:
    """Refuse a number to compare with that kernels round in different ways: a step is at one place or at another."""
    dtype = call.dtypes[0] if call.dtypes else call.node.dtype
    for name in ("self", "other", "threshold", "lambd"):
        value = call.arguments.get(name)
        if isinstance(value, int | float) and rounds_to_one_of_two(value, dtype):
            return (
                f"it compares numbers of {dtype} with {value}, which is none, and whether that is rounded first depends on the "
                f"kernel; compare with {float(torch.tensor(value).to(dtype))}, or in float32"
            )
    return None


def register(registry: OperatorRegistry) -> None:
    """Register the rules of this file."""
    aten = torch.ops.aten
    registry.register(aten.floor.default, Unary(FLOOR))
    registry.register(aten.ceil.default, Unary(CEIL))
    registry.register(aten.round.default, Unary(ROUND))
    registry.register(aten.trunc.default, Unary(TRUNC))
    registry.register(aten.sign.default, Unary(SIGN))
    registry.register(aten.sgn.default, Unary(SIGN))
    registry.register(aten.heaviside.default, Unary(heaviside))
    for name in _COMPARISONS:
        overloads = getattr(aten, name)
        curve, refuse = _comparison(name), refuse_open_threshold
        registry.register(overloads.Scalar, Unary(curve, refuse=refuse))
        registry.register(
            overloads.Tensor,
            UnaryOrSeveral(curve, ("self", "other"), refuse, several=comparison(name)),
        )
