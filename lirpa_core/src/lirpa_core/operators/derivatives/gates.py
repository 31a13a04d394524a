"""Derivatives of the activations of the form x times a gate: GELU (both), SiLU, Mish.

With the gate `G` the derivatives are `f⁽ⁿ⁾ = x G⁽ⁿ⁾ + n G⁽ⁿ⁻¹⁾`. Those of a composed gate follow from the formula of Faà di Bruno.
The inflections are zeros of these formulas, found by bisection with 40 digits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lirpa_core.operators.derivatives import sigmoids
from lirpa_core.rules.unary.curve import Map

#: Beyond this all gates are 0 or 1 and their derivatives zero, times any power of x, in any floating point format.
_FLAT = 800.0
#: The same for gates that flatten out as `exp(−x²)` does.
_FLAT_SQUARE = 50.0
#: `sqrt(2 / pi)` and the cubic coefficient of Hendrycks and Gimpel's approximation of GELU.
_TANH_RATE, _TANH_CUBIC = math.sqrt(2 / math.pi), 0.044715

#: Zeros of the third, fourth and fifth derivative.
_SILU = (
    3.435840993535110689,
    1.0319582417807491234,
    4.4292351005572279796,
    1.8197756117250127265,
    5.4008187394952158684,
)
_GELU_TANH = (2.0134807246242579281, 0.78757618641889401013, 2.5534179143294429017, 1.405964009736336315, 3.0478575051906081121)  # fmt: skip
_GELU = (2.0, math.sqrt((7 - math.sqrt(33)) / 2), math.sqrt((7 + math.sqrt(33)) / 2), math.sqrt(2), 3.0)


def _symmetric(zeros: Sequence[float]) -> tuple[tuple[float, ...], ...]:
    a, b, c, d, e = zeros
    return (-a, 0.0, a), (-c, -b, b, c), (-e, -d, 0.0, d, e)


#: Where the curvature of the first three derivatives changes its sign.
SILU_INFLECTIONS = _symmetric(_SILU)
GELU_INFLECTIONS = _symmetric(_GELU)
GELU_TANH_INFLECTIONS = _symmetric(_GELU_TANH)
MISH_INFLECTIONS = (
    (-3.2673378465204045761, -0.087934431314914211327, 2.1148425630208771086),
    (-4.2554113336685641819, -0.88194607683192259745, 0.71550588670002980217, 2.6942158677688237102),
    (-5.2332137805463790053, -1.5307236622918253301, 0.0079347425330087532639, 1.2872015703750151627, 3.2447649833669121963),
)  # fmt: skip


def silu(order: int) -> Map:
    """A derivative of `x σ(x)`."""
    gate, before = sigmoids.SIGMOID[order], sigmoids.SIGMOID[order - 1]
    return lambda x: x.clamp(-_FLAT, _FLAT) * gate(x) + order * before(x)


def gelu(order: int) -> Map:
    """A derivative of `x Φ(x)`: from the second on the density times a polynomial."""
    return (_gelu_first, _gelu_second, _gelu_third, _gelu_fourth)[order - 1]


def _density(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.clamp(-_FLAT_SQUARE, _FLAT_SQUARE), (-x.square() / 2).exp() / math.sqrt(2 * math.pi)


def _gelu_first(x: Tensor) -> Tensor:
    near, density = _density(x)
    below: Tensor = torch.special.erfc(x * -math.sqrt(0.5))
    return below / 2 + near * density


def _gelu_second(x: Tensor) -> Tensor:
    near, density = _density(x)
    return (2 - near.square()) * density


def _gelu_third(x: Tensor) -> Tensor:
    near, density = _density(x)
    return near * (near - 2) * (near + 2) * density


def _gelu_fourth(x: Tensor) -> Tensor:
    near, density = _density(x)
    square = near.square()
    return (square * (7 - square) - 4) * density


def _composed(outer: Sequence[Tensor], inner: Sequence[Tensor], order: int) -> Tensor:
    """A derivative of `h(g(x))`.

    Args:
        outer: `h` and its derivatives, at `g(x)`.
        inner: `g` and its derivatives; those that are left out are zero.
        order: Which derivative.
    """
    a, b, c = (*inner, *[torch.zeros_like(inner[0])] * 3)[1:4]
    d = inner[4] if len(inner) > 4 else torch.zeros_like(a)
    if order == 0:
        return outer[0]
    if order == 1:
        return outer[1] * a
    if order == 2:
        return outer[2] * a**2 + outer[1] * b
    if order == 3:
        return outer[3] * a**3 + 3 * outer[2] * a * b + outer[1] * c
    return outer[4] * a**4 + 6 * outer[3] * a**2 * b + outer[2] * (3 * b**2 + 4 * a * c) + outer[1] * d


def gelu_tanh(order: int) -> Map:
    """A derivative of `x σ(2 √(2/π) (x + 0.044715 x³))`."""

    def derivative(x: Tensor) -> Tensor:
        x = x.clamp(-_FLAT_SQUARE, _FLAT_SQUARE)
        rate = 2 * _TANH_RATE
        inner = (
            rate * (x + _TANH_CUBIC * x**3),
            rate * (1 + 3 * _TANH_CUBIC * x.square()),
            rate * 6 * _TANH_CUBIC * x,
            torch.full_like(x, rate * 6 * _TANH_CUBIC),
        )
        outer = [f(inner[0]) for f in sigmoids.SIGMOID[: order + 1]]
        return x * _composed(outer, inner, order) + order * _composed(outer, inner, order - 1)

    return derivative


def mish(order: int) -> Map:
    """A derivative of `x tanh(softplus(x))`."""

    def derivative(x: Tensor) -> Tensor:
        inner = (F.softplus(x, threshold=_FLAT), *[f(x) for f in sigmoids.SIGMOID[:4]])
        gate = torch.tanh(inner[0])
        rest = (1 - gate) * (1 + gate)
        outer = (
            gate,
            rest,
            -2 * gate * rest,
            rest * (6 * gate.square() - 2),
            rest * gate * (16 - 24 * gate.square()),
        )
        near = x.clamp(-_FLAT, _FLAT)
        return near * _composed(outer, inner, order) + order * _composed(outer, inner, order - 1)

    return derivative
