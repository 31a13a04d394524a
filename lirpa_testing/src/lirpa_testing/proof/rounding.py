"""How far rounding may move the value of a formula: running error analysis.

References:
    J. H. Wilkinson, "Error analysis revisited", IMA Bulletin 22, 1986.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from flint import arb

from lirpa_testing.proof.jets import Jet, Primitive
from lirpa_testing.proof.ranges import Scalar


class Running(Jet):
    """A value, and what an error of one unit in the last place in each step adds up to, in such units.

    Attributes:
        error: The sum of the magnitudes of all intermediate values, each times the slope of the result in it.
    """

    __slots__ = ("error",)

    def __init__(self, f: Any, error: float = 0.0) -> None:
        super().__init__(f)
        self.error = error

    def chain(self, primitive: Primitive) -> Running:
        g, g1, _ = primitive
        y = g(self.f)
        return Running(y, _times(_size(g1(self.f, y)), self.error) + _size(y))

    def __add__(self, other: Jet | Scalar) -> Running:
        f, error = _parts(other)
        y = self.f + f
        return Running(y, self.error + error + _size(y))

    __radd__ = __add__

    def __neg__(self) -> Running:
        return Running(-self.f, self.error)

    def __mul__(self, other: Jet | Scalar) -> Running:
        f, error = _parts(other)
        y = self.f * f
        return Running(y, _times(_size(f), self.error) + _times(_size(self.f), error) + _size(y))

    __rmul__ = __mul__

    def __truediv__(self, other: Jet | Scalar) -> Jet:
        return self * other**-1 if isinstance(other, Jet) else self * (1 / arb(other))


def running_error(formula: Callable[[Jet], Jet], x: float) -> float:
    """By how much rounding each step of a formula may move its value at `x`, in units of the machine epsilon."""
    found = formula(Running(arb(x)))
    return found.error if isinstance(found, Running) else 0.0


def _parts(x: Jet | Scalar) -> tuple[Any, float]:
    if isinstance(x, Running):
        return x.f, x.error
    return arb(x), 0.0  # type: ignore[arg-type]


def _size(x: Any) -> float:
    found = abs(float(x.mid()))
    return found if math.isfinite(found) else 0.0


def _times(slope: float, error: float) -> float:
    return slope * error if error else 0.0
