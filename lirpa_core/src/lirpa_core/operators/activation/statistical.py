"""Functions of statistics and physics: polygamma, the normal distribution's logarithm, modified Bessel functions, erfcx.

All but the exponentially scaled Bessel function have a derivative that rises or falls throughout: the digamma function and the
logarithm of the normal distribution are concave, the Hurwitz zeta function and erfcx are completely monotone, and the Taylor
series of the modified Bessel functions have no negative coefficients (NIST Handbook of Mathematical Functions, 5.7, 7.8,
10.25, 25.11).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lirpa_core.operators.activation.domains import unless_above
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.call import Call, Const
from lirpa_core.rules.off_by import OffBy
from lirpa_core.rules.unary import CONCAVE, CONVEX, Arc, Curve, Unary, parameter
from lirpa_core.rules.unary.curve import Jet, Map

special: Any = torch.special


def _jet(first: Map, second: Map) -> Jet:
    return lambda x: (first(x), second(x))


def _digamma_slope(x: Tensor) -> Tensor:
    found: Tensor = special.zeta(2.0, x)  # torch.polygamma(1, x) is off by up to 5e-10 of it
    return found


DIGAMMA = Curve(
    f=torch.digamma,
    df=_digamma_slope,
    arcs=(
        Arc(CONCAVE, jet=_jet(_digamma_slope, lambda x: -2 * special.zeta(3.0, x)), anchor=1.0, limit=0.0),
    ),
    monotone=1,
    shape=CONCAVE,
    outside=unless_above(0),
    floor=1.0,  # a root, around which numbers of that size cancel
    reach=16.0,
)


def zeta(call: Call) -> Curve:
    """`ζ(s, x)` of positive `x`, with a constant `s > 1`: completely monotone."""
    s = parameter(call, "self")

    def f(x: Tensor) -> Tensor:
        found: Tensor = special.zeta(_as(s, x), x)
        return found

    def first(x: Tensor) -> Tensor:
        found: Tensor = -s * special.zeta(_as(s, x) + 1, x)
        return found

    def second(x: Tensor) -> Tensor:
        found: Tensor = s * (s + 1) * special.zeta(_as(s, x) + 2, x)
        return found

    return Curve(
        f=f,
        df=first,
        arcs=(Arc(CONVEX, jet=_jet(first, second), anchor=1.0, limit=0.0),),
        monotone=-1,
        shape=CONVEX,
        outside=unless_above(0),
        rounding="relative",
    )


def _as(s: Tensor | float, x: Tensor) -> Tensor:
    return s.to(x.dtype) if isinstance(s, Tensor) else torch.full((), s, dtype=x.dtype, device=x.device)


def _refuse_zeta(call: Call) -> str | None:
    s = call["self"]
    least = float(s.value.min()) if isinstance(s, Const) else float(s)
    return (
        None if least > 1 else f"ζ(s, x) is a sum that does not end for s = {least:g}; s has to be above one"
    )


# ---------------------------------------------------------------------- the normal distribution


def _log_ndtr_slope(x: Tensor) -> Tensor:
    """The density over the distribution: `√(2/π) / erfcx(−x / √2)`, which overflows on the right."""
    left, right = x.clamp(max=0), x.clamp(min=0)
    over_erfcx = math.sqrt(2 / math.pi) / special.erfcx(left * -math.sqrt(0.5))
    density = torch.exp(-0.5 * right.square()) / math.sqrt(2 * math.pi)
    return torch.where(x < 0, over_erfcx, density / special.ndtr(right))


def _log_ndtr_bend(x: Tensor) -> Tensor:
    k = _log_ndtr_slope(x)
    return -k * (x + k)


LOG_NDTR = Curve(
    f=special.log_ndtr,
    df=_log_ndtr_slope,
    arcs=(
        Arc(CONCAVE, end=0.0, jet=_jet(_log_ndtr_slope, _log_ndtr_bend), anchor=-1.0),
        Arc(CONCAVE, start=0.0, jet=_jet(_log_ndtr_slope, _log_ndtr_bend), anchor=1.0, limit=0.0),
    ),
    monotone=1,
    shape=CONCAVE,
    rounding="relative",
    exponential=True,
)


#: From here on the second derivative of erfcx is its asymptotic series, of so many terms, which is as accurate as float64.
_FAR, _TERMS = 12.0, 13

#: From here on the first derivative is a continued fraction of so many terms.
_NEAR, _FRACTIONS = 3.0, 60


def _erfcx_slope(x: Tensor) -> Tensor:
    """`2 x erfcx(x) − 2/√π`, which cancels as `x` grows; there `−2 erfcx(x) i¹erfc(x) / erfc(x)`.

    The quotient of erfc and its integral is `½ / (x + 1 / (x + 3/2 / (x + 2 / ..)))` (Abramowitz and Stegun 7.2.5, 7.2.6), in which
    nothing cancels.
    """
    near, far = x.clamp(max=_NEAR), x.clamp(min=_NEAR)
    below = far
    for n in range(_FRACTIONS, 1, -1):
        below = far + (n / 2) / below
    beyond = -special.erfcx(far) / below
    return torch.where(x < _NEAR, 2 * near * special.erfcx(near) - 2 / math.sqrt(math.pi), beyond)


def _erfcx_bend(x: Tensor) -> Tensor:
    """`2 erfcx(x) + 2 x erfcx′(x)`, which cancels too; far out `2 (1 − 6y + 45y² − ..) / (√π x³)` with `y = 1 / (2x²)`."""
    near, far = x.clamp(max=_FAR), x.clamp(min=_FAR)
    y = 0.5 / far.square()
    total = torch.ones_like(y)
    for n in range(_TERMS, 0, -1):
        total = 1 - (2 * n + 1) * (n + 1) / n * y * total
    beyond = 2 * total / (math.sqrt(math.pi) * far**3)
    return torch.where(x < _FAR, 2 * special.erfcx(near) + 2 * near * _erfcx_slope(near), beyond)


ERFCX = Curve(
    f=special.erfcx,
    df=_erfcx_slope,
    arcs=(Arc(CONVEX, jet=_jet(_erfcx_slope, _erfcx_bend), anchor=0.0, limit=0.0),),
    monotone=-1,
    shape=CONVEX,
    rounding="relative",
    exponential=True,
)

# ---------------------------------------------------------------------- modified Bessel functions


def _over(y: Tensor, x: Tensor) -> Tensor:
    """`y / x`, one half where `x` is zero, as of `I₁(x) / x`."""
    zero = x == 0
    return torch.where(zero, 0.5, y / torch.where(zero, 1, x))


def _i1_slope(x: Tensor) -> Tensor:
    found: Tensor = special.i0(x) - _over(special.i1(x), x)
    return found


def _i1_bend(x: Tensor) -> Tensor:
    """`I₁″ = (1 + 2/x²) I₁ − I₀ / x`, near zero `3x/4` and more."""
    small = x.abs() < 0.25
    safe = torch.where(small, 1, x)
    far = (1 + 2 / safe.square()) * special.i1(safe) - special.i0(safe) / safe
    return torch.where(small, 0.375 * x, far)


I0 = Curve(
    f=special.i0,
    df=special.i1,
    arcs=(Arc(CONVEX, jet=_jet(special.i1, _i1_slope), anchor=0.0),),
    extrema=(0.0,),
    shape=CONVEX,
    rounding="relative",
)

#: The series of PyTorch's kernel of I₁ is off by up to 19.4 units below 8, measured in float32 at 4.8 million points.
_I1_UNITS = 64

I1 = Curve(
    f=special.i1,
    df=_i1_slope,
    arcs=(
        Arc(CONCAVE, end=0.0, jet=_jet(_i1_slope, _i1_bend), anchor=-1.0),
        Arc(CONVEX, start=0.0, jet=_jet(_i1_slope, _i1_bend), anchor=1.0),
    ),
    monotone=1,
    rounding="relative",
    units=_I1_UNITS,
)


def _i0e_slope(x: Tensor) -> Tensor:
    """At the kink, that of the right side."""
    return torch.where(x < 0, _i0e_left(x), _i0e_right(x))


def _i0e_left(x: Tensor) -> Tensor:
    return -_i0e_right(-x)


#: From here on the derivative of i0e is its asymptotic series: the coefficients of the powers of 1/x (Abramowitz and Stegun 9.7.1).
_I0E_FAR = 30.0


def _i0e_series() -> tuple[float, ...]:
    found, of_zero, of_one = [], 1.0, 1.0
    for k in range(1, 15):
        of_zero *= (2 * k - 1) ** 2 / (8 * k)
        of_one *= ((2 * k - 1) ** 2 - 4) / (8 * k)
        found.append(of_one - of_zero)
    return tuple(found)


_I0E_SERIES = _i0e_series()


def _i0e_right(x: Tensor) -> Tensor:
    """`i1e(x) − i0e(x)`, which cancels as `x` grows."""
    near, far = x.clamp(max=_I0E_FAR), x.clamp(min=_I0E_FAR)
    total = torch.zeros_like(far)
    for coefficient in reversed(_I0E_SERIES):
        total = (total + coefficient) / far
    return torch.where(
        x < _I0E_FAR, special.i1e(near) - special.i0e(near), total / (2 * math.pi * far).sqrt()
    )


def _i0e_bend(x: Tensor) -> Tensor:
    found: Tensor = 2 * special.i0e(x) - _over(special.i1e(x), x) - 2 * special.i1e(x).abs()
    return found


I0E = Curve(
    f=special.i0e,
    df=_i0e_slope,
    arcs=(
        Arc(CONVEX, end=0.0, jet=_jet(_i0e_left, _i0e_bend), anchor=-1.0, limit=0.0),
        Arc(CONVEX, start=0.0, jet=_jet(_i0e_right, _i0e_bend), anchor=1.0, limit=0.0),
    ),
    corners=(0.0,),
    rounding="relative",
)


# ---------------------------------------------------------------------- what PyTorch computes less accurately

#: What `torch.polygamma(1, x)` is off by in float64, relative to its value: 4.9e-10 at 1.134, measured against Arb.
_TRIGAMMA_ERROR = 2.0**-30


def _polygamma(call: Call) -> Curve:
    """Derivatives of the digamma function: `(−1)ⁿ⁺¹ n! ζ(n + 1, x)`, and itself for `n = 0`."""
    n = call["n"]
    if n == 0:
        return DIGAMMA
    factor = float((-1) ** (n + 1) * math.factorial(n))

    def of(s: float) -> Map:
        return lambda x: factor * special.zeta(torch.full((), s, dtype=x.dtype, device=x.device), x)

    def first(x: Tensor) -> Tensor:
        found: Tensor = -(n + 1.0) * of(n + 2.0)(x)
        return found

    def second(x: Tensor) -> Tensor:
        found: Tensor = (n + 1.0) * (n + 2.0) * of(n + 3.0)(x)
        return found

    bend = CONVEX if factor > 0 else CONCAVE
    return Curve(
        f=of(n + 1.0),
        df=first,
        arcs=(Arc(bend, jet=_jet(first, second), anchor=1.0, limit=0.0),),
        monotone=-1 if factor > 0 else 1,
        shape=bend,
        outside=unless_above(0),
        rounding="relative",
    )


def _polygamma_error(call: Call) -> float:
    return _TRIGAMMA_ERROR if call["n"] == 1 else 0.0


def register(registry: OperatorRegistry) -> None:
    """Register the rules of this file."""
    aten = torch.ops.aten
    registry.register(aten.digamma.default, Unary(DIGAMMA))
    registry.register(aten.special_zeta.default, Unary(zeta, operands=("other",), refuse=_refuse_zeta))
    registry.register(aten.special_zeta.self_scalar, Unary(zeta, operands=("other",), refuse=_refuse_zeta))
    polygamma = Unary(_polygamma, operands=("self",))
    registry.register(aten.polygamma.default, OffBy(polygamma, relative=_polygamma_error))
    registry.register(aten.special_log_ndtr.default, Unary(LOG_NDTR))
    registry.register(aten.special_erfcx.default, Unary(ERFCX))
    for op in (aten.i0.default, aten.special_i0.default):
        registry.register(op, Unary(I0))
    registry.register(aten.special_i0e.default, Unary(I0E))
    registry.register(aten.special_i1.default, Unary(I1))
