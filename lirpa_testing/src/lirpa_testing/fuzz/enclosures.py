"""Numbers that are known up to an interval of float64, of many points at once: what decides most comparisons before balls do.

The functions of `operators` take these in the place of balls. Every operation rounds outward: by one unit of the last place
what IEEE 754 rounds correctly, and by a relative `2^-48` what the libraries compute, which state errors of a few units.
Where an end is not a number, or an operand leaves the domain, nothing is known: the interval is the whole line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import torch
from flint import arb
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

#: What libraries may be wrong by, relative to the value: 16 units of the last place.
_LIBRARY = 2.0**-48


@dataclass(frozen=True, eq=False)
class Enclosure:
    """Numbers, each between two ends.

    Attributes:
        lower: Lower ends, of any shape.
        upper: Upper ends, of the same shape.
    """

    lower: Floats
    upper: Floats

    @classmethod
    def of(cls, value: Any) -> Enclosure:
        """An enclosure of a ball or a number, or of an array of floats, which are taken as they are."""
        if isinstance(value, Enclosure):
            return value
        if isinstance(value, arb):
            near, spread = (np.asarray(float(part)) for part in (value.mid(), value.rad()))
            if value == float(near):
                return cls(near, near)
            return _outward(np.asarray(near - spread * 2), np.asarray(near + spread * 2))
        ends = np.asarray(value, dtype=np.float64)
        return cls(ends, ends)

    @classmethod
    def of_fractions(cls, values: list[Fraction]) -> Enclosure:
        """An enclosure of rational numbers, `[n]`; those beyond float64's range are not known."""
        return _outward(*[np.array([_nearest(v) for v in values])] * 2)

    # ------------------------------------------------------------ arithmetic

    def __neg__(self) -> Enclosure:
        return Enclosure(-self.upper, -self.lower)

    def __abs__(self) -> Enclosure:
        apart = np.maximum(self.lower, -self.upper)
        return Enclosure(np.maximum(apart, 0), np.maximum(-self.lower, self.upper))

    def __add__(self, other: Any) -> Enclosure:
        b = Enclosure.of(other)
        return _outward(self.lower + b.lower, self.upper + b.upper)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Enclosure:
        return self + -Enclosure.of(other)

    def __rsub__(self, other: Any) -> Enclosure:
        return Enclosure.of(other) - self

    def __mul__(self, other: Any) -> Enclosure:
        b = Enclosure.of(other)
        return _extremes(np.multiply, self, b)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Enclosure:
        b = Enclosure.of(other)
        found = _extremes(np.divide, self, b)
        return _where_known((b.lower > 0) | (b.upper < 0), found)

    def __rtruediv__(self, other: Any) -> Enclosure:
        return Enclosure.of(other) / self

    def __pow__(self, exponent: int) -> Enclosure:
        """A whole power of at least one, which forgets that its factors are one number."""
        found = self
        for _ in range(exponent - 1):
            found = found * self
        return found

    # ------------------------------------------------------------ choices

    def max(self, other: Any) -> Enclosure:
        """The larger of two."""
        b = Enclosure.of(other)
        return Enclosure(np.maximum(self.lower, b.lower), np.maximum(self.upper, b.upper))

    def min(self, other: Any) -> Enclosure:
        """The smaller of two."""
        b = Enclosure.of(other)
        return Enclosure(np.minimum(self.lower, b.lower), np.minimum(self.upper, b.upper))

    def union(self, other: Any) -> Enclosure:
        """Either of two."""
        b = Enclosure.of(other)
        return Enclosure(np.minimum(self.lower, b.lower), np.maximum(self.upper, b.upper))

    def choose(self, limit: Any, above: Any, otherwise: Any) -> Enclosure:
        """`above` where the number is greater than a limit, else `otherwise`; either where that is not known."""
        b, yes, no = Enclosure.of(limit), Enclosure.of(above), Enclosure.of(otherwise)
        sure, never, both = self.lower > b.upper, self.upper <= b.lower, yes.union(no)
        return Enclosure(
            np.where(sure, yes.lower, np.where(never, no.lower, both.lower)),
            np.where(sure, yes.upper, np.where(never, no.upper, both.upper)),
        )

    def floor(self) -> Enclosure:
        """The whole number below."""
        return Enclosure(np.floor(self.lower), np.floor(self.upper))

    # ------------------------------------------------------------ functions

    def sqrt(self) -> Enclosure:
        """Of what is not negative."""
        return _where_known(self.lower >= 0, self._rising(np.sqrt))

    def exp(self) -> Enclosure:
        """The exponential."""
        return self._rising(np.exp)

    def expm1(self) -> Enclosure:
        """The exponential less one."""
        return self._rising(np.expm1)

    def log(self) -> Enclosure:
        """Of what is positive."""
        return _where_known(self.lower > 0, self._rising(np.log))

    def log1p(self) -> Enclosure:
        """Of what is above minus one."""
        return _where_known(self.lower > -1, self._rising(np.log1p))

    def tanh(self) -> Enclosure:
        """The hyperbolic tangent."""
        return self._rising(np.tanh)

    def atan(self) -> Enclosure:
        """The arc tangent."""
        return self._rising(np.arctan)

    def asinh(self) -> Enclosure:
        """The inverse of the hyperbolic sine."""
        return self._rising(np.arcsinh)

    def sinh(self) -> Enclosure:
        """The hyperbolic sine."""
        return self._rising(np.sinh)

    def erf(self) -> Enclosure:
        """The error function."""
        return self._rising(lambda v: torch.special.erf(torch.tensor(v)).numpy())

    def erfc(self) -> Enclosure:
        """One less the error function."""
        return (-self)._rising(lambda v: torch.special.erfc(-torch.tensor(v)).numpy())

    def sin(self) -> Enclosure:
        """The sine."""
        return self._near(np.sin)

    def cos(self) -> Enclosure:
        """The cosine."""
        return self._near(np.cos)

    def _rising(self, f: Callable[[Floats], Floats]) -> Enclosure:
        low, up = f(np.atleast_1d(self.lower)), f(np.atleast_1d(self.upper))
        shape = np.shape(self.lower)
        low, up = low.reshape(shape), up.reshape(shape)
        return _outward(low - abs(low) * _LIBRARY, up + abs(up) * _LIBRARY)

    def _near(self, f: Callable[[Floats], Floats]) -> Enclosure:
        """A function whose slope is one at most."""
        value, width = f(self.lower), _up(self.upper - self.lower) + _LIBRARY
        return _outward(np.maximum(value - width, -1), np.minimum(value + width, 1))


def _nearest(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("nan")


def _up(v: Floats) -> Floats:
    return np.nextafter(v, np.inf)


def _outward(lower: Floats, upper: Floats) -> Enclosure:
    """Ends moved by a unit of the last place; an end that is not a number bounds nothing."""
    low, up = np.nextafter(lower, -np.inf), _up(upper)
    return Enclosure(np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(up), np.inf, up))


def _extremes(f: Callable[[Floats, Floats], Floats], a: Enclosure, b: Enclosure) -> Enclosure:
    """Of a function of two numbers that is extreme at ends; what is not a number at one end is not known."""
    if a.lower is a.upper and b.lower is b.upper:
        value = f(a.lower, b.lower)
        return _outward(value, value)
    ends = (
        f(a.lower, b.lower),
        f(a.lower, b.upper),
        f(a.upper, b.lower),
        f(a.upper, b.upper),
    )
    low, up = ends[0], ends[0]
    for end in ends[1:]:
        low, up = np.minimum(low, end), np.maximum(up, end)
    return _outward(low, up)


def _where_known(known: Any, value: Enclosure) -> Enclosure:
    return Enclosure(np.where(known, value.lower, -np.inf), np.where(known, value.upper, np.inf))
