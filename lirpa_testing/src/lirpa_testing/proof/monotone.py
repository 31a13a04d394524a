"""Functions that rise or fall together with their derivatives, as jets: the ends of a range are those of its image.

Completely monotone functions (`(−1)ⁿ f⁽ⁿ⁾ ≥ 0`: zeta, erfcx, `e⁻ˣ I₀(x)` of positive `x`) fall, and each derivative goes the
other way; Taylor series without negative coefficients (`I₀`, `I₁` of positive `x`) rise with all derivatives. The logarithm of
the normal distribution is concave, its derivative, the inverse Mills ratio at `−x`, falls and is convex (Sampford 1953).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flint import arb

from lirpa_testing.proof.jets import Jet
from lirpa_testing.proof.ranges import Range


def _on(function: Callable[[arb], arb], rising: bool) -> Callable[[Any], Any]:
    """A monotone function of balls, also of ranges."""

    def of(u: Any) -> Any:
        if not isinstance(u, Range):
            return function(u)
        a, b = function(u.lo), function(u.hi)
        return Range(a, b) if rising else Range(b, a)

    return of


def _monotone(functions: tuple[Callable[[arb], arb], ...], rising: tuple[bool, ...]) -> Callable[[Jet], Jet]:
    f, g, h = (_on(function, up) for function, up in zip(functions, rising, strict=True))
    return lambda x: x.chain((f, lambda u, y: g(u), lambda u, y, d: h(u)))


def zeta(s: float) -> Callable[[Jet], Jet]:
    """`ζ(s, x)` of positive `x`."""
    return _monotone(
        (
            lambda u: arb(s).zeta(u),
            lambda u: arb(s + 1).zeta(u) * -s,
            lambda u: arb(s + 2).zeta(u) * (arb(s) * (s + 1)),
        ),
        (False, True, False),
    )


digamma = _monotone(
    (lambda u: u.digamma(), lambda u: arb(2).zeta(u), lambda u: arb(3).zeta(u) * -2), (True, False, True)
)


def _erfcx(u: arb) -> arb:
    return (u * u).exp() * u.erfc()


def _erfcx_slope(u: arb) -> arb:
    return 2 * u * _erfcx(u) - 2 / arb.pi().sqrt()


erfcx = _monotone(
    (_erfcx, _erfcx_slope, lambda u: 2 * _erfcx(u) + 2 * u * _erfcx_slope(u)), (False, True, False)
)


def _log_ndtr(u: arb) -> arb:
    if u < 0:
        return ((-u / arb(2).sqrt()).erfc() / 2).log()
    return (-(u / arb(2).sqrt()).erfc() / 2).log1p()


def _mills(u: arb) -> arb:
    return (arb(2) / arb.pi()).sqrt() / _erfcx(-u / arb(2).sqrt())


log_ndtr = _monotone((_log_ndtr, _mills, lambda u: -_mills(u) * (u + _mills(u))), (True, False, True))


def _i(n: int) -> Callable[[arb], arb]:
    return lambda u: u.bessel_i(n)


def _i1_slope(u: arb) -> arb:
    return (u.bessel_i(0) + u.bessel_i(2)) / 2


def _i1_bend(u: arb) -> arb:
    return (3 * u.bessel_i(1) + u.bessel_i(3)) / 4


#: On positive numbers; on negative ones mirrored.
i0 = _monotone((_i(0), _i(1), _i1_slope), (True, True, True))
i1 = _monotone((_i(1), _i1_slope, _i1_bend), (True, True, True))
i0e = _monotone(
    (
        lambda u: (-u).exp() * u.bessel_i(0),
        lambda u: (-u).exp() * (u.bessel_i(1) - u.bessel_i(0)),
        lambda u: (-u).exp() * (u.bessel_i(0) - 2 * u.bessel_i(1) + _i1_slope(u)),
    ),
    (False, True, False),
)
