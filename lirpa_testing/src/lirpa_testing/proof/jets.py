"""A function of one variable with its first two derivatives, at a point or over a range."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from flint import arb

from lirpa_testing.proof.ranges import Number, Range, Scalar

#: A function and its first two derivatives, each from the argument, with what was found before at hand.
Primitive: TypeAlias = tuple[Callable[[Any], Any], Callable[[Any, Any], Any], Callable[[Any, Any, Any], Any]]


class Jet:
    """`(f, f', f'')` at a point (balls) or over all of a range (ranges); orders that were not asked for are None.

    It knows `+ - * /`, powers with a constant exponent, and the functions of `PRIMITIVES`, each a method.
    """

    __slots__ = ("d1", "d2", "f")

    def __init__(self, f: Number, d1: Number | None = None, d2: Number | None = None) -> None:
        self.f: Any = f
        self.d1: Any = d1
        self.d2: Any = d2

    @classmethod
    def value(cls, x: Number) -> Jet:
        """The variable, for a function's value alone."""
        return cls(x)

    @classmethod
    def variable(cls, x: Number) -> Jet:
        """The variable, for a function's value and both derivatives."""
        one, zero = arb(1), arb(0)
        return cls(x, one, zero) if isinstance(x, arb) else cls(x, Range(one, one), Range(zero, zero))

    def chain(self, primitive: Primitive) -> Jet:
        """A function of this one."""
        g, g1, g2 = primitive
        y = g(self.f)
        if self.d1 is None:
            return Jet(y)
        first = g1(self.f, y)
        second = g2(self.f, y, first)
        return Jet(y, first * self.d1, second * self.d1**2 + first * self.d2)

    def __add__(self, other: Jet | Scalar) -> Jet:
        if not isinstance(other, Jet):
            return Jet(self.f + other, self.d1, self.d2)
        if self.d1 is None:
            return Jet(self.f + other.f)
        return Jet(self.f + other.f, self.d1 + other.d1, self.d2 + other.d2)

    __radd__ = __add__

    def __neg__(self) -> Jet:
        return Jet(-self.f) if self.d1 is None else Jet(-self.f, -self.d1, -self.d2)

    def __sub__(self, other: Jet | Scalar) -> Jet:
        return self + (-other)

    def __rsub__(self, other: Scalar) -> Jet:
        return -self + other

    def __mul__(self, other: Jet | Scalar) -> Jet:
        if self.d1 is None:
            return Jet(self.f * (other.f if isinstance(other, Jet) else other))
        if not isinstance(other, Jet):
            return Jet(self.f * other, self.d1 * other, self.d2 * other)
        return Jet(
            self.f * other.f,
            self.d1 * other.f + self.f * other.d1,
            self.d2 * other.f + self.d1 * other.d1 * 2 + self.f * other.d2,
        )

    __rmul__ = __mul__

    def __truediv__(self, other: Jet | Scalar) -> Jet:
        if isinstance(other, Jet):
            return self * other**-1
        return (
            Jet(self.f / other) if self.d1 is None else Jet(self.f / other, self.d1 / other, self.d2 / other)
        )

    def __rtruediv__(self, other: Scalar) -> Jet:
        return self**-1 * other

    def __pow__(self, exponent: float) -> Jet:
        # As a ball, so that the exponents of the derivatives are not rounded to floats.
        p: int | arb = int(exponent) if float(exponent).is_integer() else arb(exponent)
        if p == 1:
            return self
        return self.chain(
            (
                lambda u: _power(u, p),
                lambda u, y: _power(u, p - 1) * p,
                lambda u, y, d: _power(u, p - 2) * (p * (p - 1)),
            )
        )

    def exp(self) -> Jet:
        return self.chain(PRIMITIVES["exp"])

    def expm1(self) -> Jet:
        return self.chain(PRIMITIVES["expm1"])

    def log(self) -> Jet:
        return self.chain(PRIMITIVES["log"])

    def log1p(self) -> Jet:
        return self.chain(PRIMITIVES["log1p"])

    def sqrt(self) -> Jet:
        return self.chain(PRIMITIVES["sqrt"])

    def sin(self) -> Jet:
        return self.chain(PRIMITIVES["sin"])

    def cos(self) -> Jet:
        return self.chain(PRIMITIVES["cos"])

    def tan(self) -> Jet:
        return self.chain(PRIMITIVES["tan"])

    def sinh(self) -> Jet:
        return self.chain(PRIMITIVES["sinh"])

    def cosh(self) -> Jet:
        return self.chain(PRIMITIVES["cosh"])

    def tanh(self) -> Jet:
        return self.chain(PRIMITIVES["tanh"])

    def asin(self) -> Jet:
        return self.chain(PRIMITIVES["asin"])

    def acos(self) -> Jet:
        return self.chain(PRIMITIVES["acos"])

    def atan(self) -> Jet:
        return self.chain(PRIMITIVES["atan"])

    def asinh(self) -> Jet:
        return self.chain(PRIMITIVES["asinh"])

    def acosh(self) -> Jet:
        return self.chain(PRIMITIVES["acosh"])

    def atanh(self) -> Jet:
        return self.chain(PRIMITIVES["atanh"])

    def erf(self) -> Jet:
        return self.chain(PRIMITIVES["erf"])

    def erfc(self) -> Jet:
        return self.chain(PRIMITIVES["erfc"])

    def erfinv(self) -> Jet:
        return self.chain(PRIMITIVES["erfinv"])

    def lgamma(self) -> Jet:
        return self.chain(PRIMITIVES["lgamma"])

    def sigmoid(self) -> Jet:
        return self.chain(PRIMITIVES["sigmoid"])

    def softplus(self) -> Jet:
        return self.chain(PRIMITIVES["softplus"])


def _power(u: Number, p: int | arb) -> Number:
    """`u ** p`, with an integer `p` for any `u`, else for those that are not negative."""
    if isinstance(u, Range):
        return u**p
    return u**p if p >= 0 else 1 / u**-p


def _hurwitz(u: Number, s: int) -> Number:
    """`Σ (u + n)⁻ˢ`, by which the derivatives of the digamma function are known."""
    return u.hurwitz(s) if isinstance(u, Range) else arb(s).zeta(u)


def _sigmoid(u: Number) -> Number:
    return 1 / ((-u).exp() + 1)


#: The functions a jet knows, with derivatives in forms that are sharp on a range.
PRIMITIVES: dict[str, Primitive] = {
    "exp": (lambda u: u.exp(), lambda u, y: y, lambda u, y, d: y),
    "expm1": (lambda u: u.expm1(), lambda u, y: u.exp(), lambda u, y, d: d),
    "log": (lambda u: u.log(), lambda u, y: 1 / u, lambda u, y, d: -(d**2)),
    "log1p": (lambda u: u.log1p(), lambda u, y: 1 / (u + 1), lambda u, y, d: -(d**2)),
    "sqrt": (lambda u: u.sqrt(), lambda u, y: 1 / (y * 2), lambda u, y, d: -2 * d**3),
    "sin": (lambda u: u.sin(), lambda u, y: u.cos(), lambda u, y, d: -y),
    "cos": (lambda u: u.cos(), lambda u, y: -u.sin(), lambda u, y, d: -y),
    "tan": (lambda u: u.tan(), lambda u, y: y**2 + 1, lambda u, y, d: 2 * y * d),
    "sinh": (lambda u: u.sinh(), lambda u, y: u.cosh(), lambda u, y, d: y),
    "cosh": (lambda u: u.cosh(), lambda u, y: u.sinh(), lambda u, y, d: y),
    "tanh": (lambda u: u.tanh(), lambda u, y: u.sech() ** 2, lambda u, y, d: -2 * y * d),
    "asin": (lambda u: u.asin(), lambda u, y: 1 / (1 - u**2).sqrt(), lambda u, y, d: u * d**3),
    "acos": (lambda u: u.acos(), lambda u, y: -1 / (1 - u**2).sqrt(), lambda u, y, d: u * d**3),
    "atan": (lambda u: u.atan(), lambda u, y: 1 / (u**2 + 1), lambda u, y, d: -2 * u * d**2),
    "asinh": (lambda u: u.asinh(), lambda u, y: 1 / (u**2 + 1).sqrt(), lambda u, y, d: -u * d**3),
    "acosh": (lambda u: u.acosh(), lambda u, y: 1 / (u**2 - 1).sqrt(), lambda u, y, d: -u * d**3),
    "atanh": (lambda u: u.atanh(), lambda u, y: 1 / (1 - u**2), lambda u, y, d: 2 * u * d**2),
    "erf": (
        lambda u: u.erf(),
        lambda u, y: (-(u**2)).exp() * (2 / arb.pi().sqrt()),
        lambda u, y, d: -2 * u * d,
    ),
    "erfc": (
        lambda u: u.erfc(),
        lambda u, y: (-(u**2)).exp() * (-2 / arb.pi().sqrt()),
        lambda u, y, d: -2 * u * d,
    ),
    "erfinv": (
        lambda u: u.erfinv(),
        lambda u, y: (y**2).exp() * (arb.pi().sqrt() / 2),
        lambda u, y, d: 2 * y * d**2,
    ),
    "lgamma": (lambda u: u.lgamma(), lambda u, y: u.digamma(), lambda u, y, d: _hurwitz(u, 2)),
    "sigmoid": (
        _sigmoid,
        lambda u, y: (u / 2).sech() ** 2 / 4,
        lambda u, y, d: -(d * (u / 2).tanh()),
    ),
    "softplus": (
        lambda u: u.exp().log1p(),
        lambda u, y: _sigmoid(u),
        lambda u, y, d: (u / 2).sech() ** 2 / 4,
    ),
}
