"""Activations whose derivatives are operators of their own: by name, with the derivatives that have bounds."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from lirpa_core.operators.activation.gated import FAR
from lirpa_core.operators.derivatives import gates, pieces, sigmoids
from lirpa_core.rules.unary import Curve
from lirpa_core.rules.unary.curve import Map
from lirpa_core.rules.unary.smooth import smooth_curve

#: Parameters of an activation, in the order of its entry.
Parameters: TypeAlias = tuple[float, ...]


@dataclass(frozen=True)
class Activation:
    """A function of one variable, and its derivatives.

    Attributes:
        function: The function itself, of its operand and its parameters.
        curve: From the order of a derivative, one or more, and the parameters to the derivative; of softsign, which PyTorch has no
            operator of, from zero to the function itself too.
        highest: The highest derivative that there is a curve for.
        takes: Whether parameters are such that the curves describe the function; default: all are.
    """

    function: Callable[..., Tensor]
    curve: Callable[[int, Parameters], Curve]
    highest: int
    takes: Callable[[Parameters], bool] = lambda parameters: True


def _sigmoid(order: int, given: Parameters) -> Curve:
    return _of_sigmoid(order, 1.0, 1.0)


def _tanh(order: int, given: Parameters) -> Curve:
    return _of_sigmoid(order, 2.0 ** (order + 1), 2.0)


def _log_sigmoid(order: int, given: Parameters) -> Curve:
    if order == 1:  # σ(−x) loses no digits where it is small
        curve = smooth_curve(lambda x: torch.sigmoid(-x), lambda x: -sigmoids.first(x), inflections=(0.0,))
        return replace(curve, reach=FAR)
    return _of_sigmoid(order - 1, -1.0, 1.0)


def _softplus(order: int, given: Parameters) -> Curve:
    rate, threshold = given
    factor = rate ** (order - 1)
    left = factor * float(sigmoids.SIGMOID[order - 1](torch.tensor(threshold, dtype=torch.float64)))
    curve = _of_sigmoid(order - 1, factor, rate)
    return pieces.cut(curve, threshold / rate, left, 1.0 if order == 1 else 0.0, rate, threshold)


def _of_sigmoid(order: int, factor: float, rate: float) -> Curve:
    curve = smooth_curve(
        sigmoids.scaled(order, factor, rate),
        sigmoids.scaled(order + 1, factor * rate, rate),
        inflections=sigmoids.inflections(order, rate),
    )
    # From the third derivative on numbers of the factor's size cancel where the operand is small.
    return replace(curve, reach=max(FAR / rate, factor), floor=abs(factor) if order >= 3 else 0.0)


def _gated(
    derivative: Callable[[int], Map], inflections: tuple[tuple[float, ...], ...]
) -> Callable[[int, Parameters], Curve]:
    def curve(order: int, given: Parameters) -> Curve:
        found = smooth_curve(derivative(order), derivative(order + 1), inflections=inflections[order - 1])
        return replace(found, reach=FAR, floor=1.0 if order >= 3 else 0.0)

    return curve


def _elu(order: int, given: Parameters) -> Curve:
    return pieces.elu(order, *given)


def _polygon(
    *slopes: float | int, at: tuple[int | float, ...], inclusive: str
) -> Callable[[int, Parameters], Curve]:
    """The derivatives of a polygon."""

    def curve(order: int, given: Parameters) -> Curve:
        return pieces.between(slopes, at, inclusive.split()) if order == 1 else pieces.ZERO

    return curve


def _leaky_relu(order: int, given: Parameters) -> Curve:
    return pieces.between((given[0], 1.0), (0.0,), ("left",)) if order == 1 else pieces.ZERO


def _hardtanh(order: int, given: Parameters) -> Curve:
    return pieces.between((0.0, 1.0, 0.0), given, ("left", "right")) if order == 1 else pieces.ZERO


def _softshrink(order: int, given: Parameters) -> Curve:
    far = given[0]
    return pieces.between((1.0, 0.0, 1.0), (-far, far), ("right", "left")) if order == 1 else pieces.ZERO


def _abs(order: int, given: Parameters) -> Curve:
    if order > 1:
        return pieces.ZERO
    return pieces.steps(torch.sign, [(0.0, -1.0, 1.0)])


def _takes_rate(given: Parameters) -> bool:
    rate, threshold = given
    return rate > 0 and threshold > 0 and math.isfinite(rate * threshold)


#: PyTorch's constant, whatever the type of the operand.
_SIXTH = float(torch.tensor(1 / 6, dtype=torch.float32))

ACTIVATIONS: Mapping[str, Activation] = {
    "sigmoid": Activation(torch.sigmoid, _sigmoid, 3),
    "tanh": Activation(torch.tanh, _tanh, 3),
    "softplus": Activation(F.softplus, _softplus, 4, _takes_rate),
    "log_sigmoid": Activation(F.logsigmoid, _log_sigmoid, 4),
    "gelu": Activation(F.gelu, _gated(gates.gelu, gates.GELU_INFLECTIONS), 3),
    "gelu_tanh": Activation(
        lambda x: F.gelu(x, approximate="tanh"), _gated(gates.gelu_tanh, gates.GELU_TANH_INFLECTIONS), 3
    ),
    "silu": Activation(F.silu, _gated(gates.silu, gates.SILU_INFLECTIONS), 3),
    "mish": Activation(F.mish, _gated(gates.mish, gates.MISH_INFLECTIONS), 3),
    "softsign": Activation(F.softsign, lambda order, given: pieces.softsign(order), 1),
    "elu": Activation(torch.ops.aten.elu.default, _elu, 9, lambda given: given[2] > 0),
    "hardswish": Activation(F.hardswish, lambda order, given: pieces.hardswish(order), 9),
    "hardsigmoid": Activation(
        F.hardsigmoid, _polygon(0.0, _SIXTH, 0.0, at=(-3.0, 3.0), inclusive="left right"), 9
    ),
    "relu": Activation(torch.relu, _polygon(0.0, 1.0, at=(0.0,), inclusive="left"), 9),
    "leaky_relu": Activation(F.leaky_relu, _leaky_relu, 9),
    "hardtanh": Activation(F.hardtanh, _hardtanh, 9, lambda given: given[0] < given[1]),
    "softshrink": Activation(F.softshrink, _softshrink, 9, lambda given: given[0] > 0),
    "abs": Activation(torch.abs, _abs, 9),
}


@functools.lru_cache(maxsize=256)
def curve_of(function: str, order: int, parameters: Parameters) -> Curve:
    """A derivative of an activation as a curve.

    Args:
        function: A name in `ACTIVATIONS`.
        order: Which derivative; at most the highest.
        parameters: Of the activation.
    """
    return ACTIVATIONS[function].curve(order, parameters)
