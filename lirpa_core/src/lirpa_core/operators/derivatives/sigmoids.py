"""Derivatives of the logistic function, and what is made of them: tanh, softplus, log-sigmoid.

With `u = σ(x) σ(−x)` and `t = σ(−x) − σ(x)` the derivatives are polynomials, because `u' = u t`, `t' = −2 u` and `t² = 1 − 4 u`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lirpa_core.rules.unary.curve import Map


def _parts(x: Tensor) -> tuple[Tensor, Tensor]:
    """`u` and `t`."""
    return torch.sigmoid(x) * torch.sigmoid(-x), -torch.tanh(x / 2)


def first(x: Tensor) -> Tensor:
    """`σ'`."""
    return torch.sigmoid(x) * torch.sigmoid(-x)


def second(x: Tensor) -> Tensor:
    """`σ''`."""
    u, t = _parts(x)
    return u * t


def third(x: Tensor) -> Tensor:
    """`σ'''`."""
    u = first(x)
    return u * (1 - 6 * u)


def fourth(x: Tensor) -> Tensor:
    """`σ''''`."""
    u, t = _parts(x)
    return u * t * (1 - 12 * u)


#: The function and its derivatives.
SIGMOID: tuple[Map, ...] = (torch.sigmoid, first, second, third, fourth)


def _where(u: float) -> float:
    """The `x > 0` at which `σ(x) σ(−x)` is `u`."""
    return 2 * math.atanh(math.sqrt(1 - 4 * u))


_INNER, _OUTER = (_where((30 + sign * math.sqrt(420)) / 240) for sign in (1, -1))

#: Where the curvature of each of the first four changes its sign.
INFLECTIONS: tuple[tuple[float, ...], ...] = (
    (0.0,),
    (-_where(1 / 6), _where(1 / 6)),
    (-_where(1 / 12), 0.0, _where(1 / 12)),
    (-_OUTER, -_INNER, _INNER, _OUTER),
)


def scaled(order: int, factor: float, rate: float) -> Map:
    """`factor · σ⁽ⁿ⁾(rate · x)`."""
    derivative = SIGMOID[order]
    return lambda x: factor * derivative(rate * x)


def inflections(order: int, rate: float) -> tuple[float, ...]:
    """Where the curvature of `σ⁽ⁿ⁾(rate · x)` changes its sign, in rising order; the rate is positive."""
    return tuple(x / rate for x in INFLECTIONS[order])
