"""Functions that bend one way below zero and the other way above: sigmoid, tanh, arctangent, ..."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lirpa_core.operators.activation.domains import unless_strictly_within, unless_within
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.unary import CONCAVE, CONVEX, Arc, Curve, Unary


def _s_shape(
    f: Callable[[Tensor], Tensor],
    df: Callable[[Tensor], Tensor],
    inverse: Callable[[Tensor], Tensor],
    bend: int,
    outside: Callable[[Tensor, Tensor], Tensor] | None = None,
    singular: tuple[float, ...] = (),
) -> Curve:
    """A curve with an even derivative.

    Args:
        f: The function; `f(x) - f(0)` is odd.
        df: Its derivative.
        inverse: The `x >= 0` at which the derivative is `k`; zero (or any negative number) for
            slopes beyond that at zero, infinity for those beyond the slopes at infinity.
        bend: `CONVEX` or `CONCAVE`: on the right of zero.
        outside: As in `Curve`.
        singular: As in `Curve`.
    """
    rising = 1 if bool(df(torch.tensor(0.5)) > 0) else -1
    return Curve(
        rounding="relative",
        f=f,
        df=df,
        arcs=(
            Arc(-bend, end=0.0, inverse=lambda k: -inverse(k)),
            Arc(bend, start=0.0, inverse=inverse),
        ),
        monotone=rising,
        outside=outside,
        inside=0.0,
        singular=singular,
    )


def _sigmoid_inverse(k: Tensor) -> Tensor:
    root = (1 - 4 * k).clamp(min=0).sqrt()
    return 2 * root.log1p() - (4 * k).clamp(min=0).log()


def _erf_inverse(k: Tensor) -> Tensor:
    return (-(k * (math.sqrt(math.pi) / 2)).clamp(0, 1).log()).sqrt()


def _erf_slope(x: Tensor) -> Tensor:
    return 2 / math.sqrt(math.pi) * (-x.square()).exp()


def _asin_slope(x: Tensor) -> Tensor:
    return (1 - x).rsqrt() * (1 + x).rsqrt()


def _asin_inverse(k: Tensor) -> Tensor:
    k = k.clamp(min=1)
    return ((1 - 1 / k) * (1 + 1 / k)).sqrt()


def _asinh_inverse(k: Tensor) -> Tensor:
    k = k.clamp(0, 1)
    return ((1 - k) * (1 + k)).sqrt() / k


SIGMOID = _s_shape(torch.sigmoid, lambda x: torch.sigmoid(x) * torch.sigmoid(-x), _sigmoid_inverse, CONCAVE)
TANH = _s_shape(
    torch.tanh,
    lambda x: 4 * torch.sigmoid(2 * x) * torch.sigmoid(-2 * x),
    lambda k: _sigmoid_inverse(k / 4) / 2,
    CONCAVE,
)
ERF = _s_shape(torch.erf, _erf_slope, _erf_inverse, CONCAVE)
ERFC = _s_shape(torch.erfc, lambda x: -_erf_slope(x), lambda k: _erf_inverse(-k), CONVEX)
ATAN = _s_shape(
    torch.atan,
    lambda x: 1 / (1 + x * x),
    lambda k: (1 / k.clamp(0, 1) - 1).sqrt(),
    CONCAVE,
)
ASINH = _s_shape(torch.asinh, lambda x: 1 / torch.hypot(torch.ones_like(x), x), _asinh_inverse, CONCAVE)
SINH = _s_shape(torch.sinh, torch.cosh, lambda k: k.clamp(min=1).acosh(), CONVEX)
ASIN = _s_shape(torch.asin, _asin_slope, _asin_inverse, CONVEX, unless_within(1), (-1.0, 1.0))
ACOS = _s_shape(
    torch.acos,
    lambda x: -_asin_slope(x),
    lambda k: _asin_inverse(-k),
    CONCAVE,
    unless_within(1),
    (-1.0, 1.0),
)
ATANH = _s_shape(
    torch.atanh,
    lambda x: 1 / ((1 - x) * (1 + x)),
    lambda k: (1 - 1 / k.clamp(min=1)).sqrt(),
    CONVEX,
    unless_strictly_within(1),
)


def register(registry: OperatorRegistry) -> None:
    """Register the rules of this file."""
    aten = torch.ops.aten
    registry.register(aten.sigmoid.default, Unary(SIGMOID))
    registry.register(aten.tanh.default, Unary(TANH))
    registry.register(aten.erf.default, Unary(ERF))
    registry.register(aten.erfc.default, Unary(ERFC))
    registry.register(aten.atan.default, Unary(ATAN))
    registry.register(aten.asinh.default, Unary(ASINH))
    registry.register(aten.sinh.default, Unary(SINH))
    registry.register(aten.asin.default, Unary(ASIN))
    registry.register(aten.acos.default, Unary(ACOS))
    registry.register(aten.atanh.default, Unary(ATANH))
