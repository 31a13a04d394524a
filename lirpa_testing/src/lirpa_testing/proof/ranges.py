"""Intervals whose ends are balls: ball arithmetic that stays sharp on wide boxes.

A ball is a midpoint and a radius, so the ball around `[1, e^1000]` contains zero, and its logarithm is
unknown. Here the ends are kept apart, and a monotone function is evaluated at each of them.
"""

from __future__ import annotations

from typing import TypeAlias

from flint import arb

Scalar: TypeAlias = "arb | int | float"

_INF = arb.pos_inf()
_ONE = arb(1)

#: Numbers on either side of where the gamma function is least among positive ones.
_LEAST_GAMMA = arb(1.4616321449683622), arb(1.4616321449683625)


class Range:
    """All numbers from `lo` to `hi`; the ends are balls, and the numbers in these belong to it.

    What cannot be bounded comes out infinite or NaN, and no comparison with that is certain.
    """

    __slots__ = ("hi", "lo")

    def __init__(self, lo: arb, hi: arb) -> None:
        self.lo = lo
        self.hi = hi

    def __repr__(self) -> str:
        return f"Range({self.lo}, {self.hi})"

    def __add__(self, other: Range | Scalar) -> Range:
        if isinstance(other, Range):
            return Range(self.lo + other.lo, self.hi + other.hi)
        return Range(self.lo + other, self.hi + other)

    __radd__ = __add__

    def __neg__(self) -> Range:
        return Range(-self.hi, -self.lo)

    def __sub__(self, other: Range | Scalar) -> Range:
        if isinstance(other, Range):
            return Range(self.lo - other.hi, self.hi - other.lo)
        return Range(self.lo - other, self.hi - other)

    def __rsub__(self, other: Scalar) -> Range:
        return Range(other - self.hi, other - self.lo)

    def __mul__(self, other: Range | Scalar) -> Range:
        a, b = self.lo, self.hi
        if not isinstance(other, Range):
            if other >= 0:
                return Range(a * other, b * other)
            return Range(b * other, a * other) if other <= 0 else self * Range(arb(other), arb(other))
        c, d = other.lo, other.hi
        if a >= 0:
            if c >= 0:
                return Range(a * c, b * d)
            if d <= 0:
                return Range(b * c, a * d)
        elif b <= 0:
            if c >= 0:
                return Range(a * d, b * c)
            if d <= 0:
                return Range(b * d, a * c)
        products = (a * c, a * d, b * c, b * d)
        low = high = products[0]
        for p in products[1:]:
            low, high = low.min(p), high.max(p)
        return Range(low, high)

    __rmul__ = __mul__

    def inverse(self) -> Range:
        """`1 / x`; unbounded on the side of a zero."""
        a, b = self.lo, self.hi
        if a > 0 or b < 0:
            return Range(1 / b, 1 / a)
        if a >= 0:
            return Range(1 / b, _INF)
        return Range(-_INF, 1 / a) if b <= 0 else Range(-_INF, _INF)

    def __truediv__(self, other: Range | Scalar) -> Range:
        if isinstance(other, Range):
            return self * other.inverse()
        if other > 0:
            return Range(self.lo / other, self.hi / other)
        return Range(self.hi / other, self.lo / other) if other < 0 else Range(-_INF, _INF)

    def __rtruediv__(self, other: Scalar) -> Range:
        return self.inverse() * other

    def __pow__(self, exponent: int | arb) -> Range:
        """Powers; those that are no integers need a range that is not negative."""
        if exponent < 0:
            return (self**-exponent).inverse()
        a, b = self.lo, self.hi
        if exponent == 0:
            return Range(_ONE, _ONE)
        even = isinstance(exponent, int) and exponent % 2 == 0
        if not even or a >= 0:
            return Range(a**exponent, b**exponent)
        if b <= 0:
            return Range(b**exponent, a**exponent)
        return Range(arb(0), (a**exponent).max(b**exponent))

    # ---- functions that rise

    def exp(self) -> Range:
        return Range(self.lo.exp(), self.hi.exp())

    def expm1(self) -> Range:
        return Range(self.lo.expm1(), self.hi.expm1())

    def log(self) -> Range:
        return Range(self.lo.log(), self.hi.log())

    def log1p(self) -> Range:
        return Range(self.lo.log1p(), self.hi.log1p())

    def sqrt(self) -> Range:
        return Range(self.lo.sqrt(), self.hi.sqrt())

    def sinh(self) -> Range:
        return Range(self.lo.sinh(), self.hi.sinh())

    def tanh(self) -> Range:
        return Range(self.lo.tanh(), self.hi.tanh())

    def asin(self) -> Range:
        return Range(self.lo.asin(), self.hi.asin())

    def atan(self) -> Range:
        return Range(self.lo.atan(), self.hi.atan())

    def asinh(self) -> Range:
        return Range(self.lo.asinh(), self.hi.asinh())

    def acosh(self) -> Range:
        return Range(self.lo.acosh(), self.hi.acosh())

    def atanh(self) -> Range:
        return Range(self.lo.atanh(), self.hi.atanh())

    def erf(self) -> Range:
        return Range(self.lo.erf(), self.hi.erf())

    def erfinv(self) -> Range:
        return Range(self.lo.erfinv(), self.hi.erfinv())

    def digamma(self) -> Range:
        return Range(self.lo.digamma(), self.hi.digamma())

    # ---- functions that fall

    def hurwitz(self, s: int) -> Range:
        return Range(arb(s).zeta(self.hi), arb(s).zeta(self.lo))

    def acos(self) -> Range:
        return Range(self.hi.acos(), self.lo.acos())

    def erfc(self) -> Range:
        return Range(self.hi.erfc(), self.lo.erfc())

    # ---- functions that do both

    def cosh(self) -> Range:
        a, b = self.lo, self.hi
        if a >= 0:
            return Range(a.cosh(), b.cosh())
        return Range(b.cosh(), a.cosh()) if b <= 0 else Range(_ONE, a.cosh().max(b.cosh()))

    def lgamma(self) -> Range:
        a, b = self.lo, self.hi
        if a >= _LEAST_GAMMA[1]:
            return Range(a.lgamma(), b.lgamma())
        if b <= _LEAST_GAMMA[0]:
            return Range(b.lgamma(), a.lgamma())
        least = (
            _LEAST_GAMMA[0].lgamma() - arb(2) ** -60
        )  # the slope there is below 2⁻⁵¹, the distance below 2⁻⁵²
        return Range(least, a.lgamma().max(b.lgamma()))

    def sech(self) -> Range:
        a, b = self.lo, self.hi
        if a >= 0:
            return Range(b.sech(), a.sech())
        return Range(a.sech(), b.sech()) if b <= 0 else Range(a.sech().min(b.sech()), _ONE)

    def sin(self) -> Range:
        return _ends(self.lo.union(self.hi).sin())

    def cos(self) -> Range:
        return _ends(self.lo.union(self.hi).cos())

    def tan(self) -> Range:
        cosine = self.cos()
        if self.hi - self.lo < 3 and (cosine.lo > 0 or cosine.hi < 0):  # no pole in between
            return Range(self.lo.tan(), self.hi.tan())
        return Range(-_INF, _INF)


def _ends(ball: arb) -> Range:
    return Range(ball.lower(), ball.upper())


Number: TypeAlias = "arb | Range"
