"""The derivatives of activations, for proofs: what `lirpa::derivative` computes, written in other words than its rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from flint import arb

from lirpa_testing.proof.jets import Jet
from lirpa_testing.proof.oracle import Formula, Oracle, Piecewise, Smooth, constant, exactly

#: From the order of the derivative and the parameters of the activation to the derivative.
OracleOfOrder: TypeAlias = Callable[[int, tuple[float, ...]], Oracle]


def derivative(given: Any) -> Oracle:
    """The oracle of a call of `lirpa::derivative`.

    Args:
        given: Its arguments, as `lirpa_testing.proof.table.Arguments`.
    """
    return _ORACLES[given["function"]](int(given["order"]), tuple(float(p) for p in given["parameters"]))


# ---------------------------------------------------------------------- made of the logistic function


def _logistic(order: int, x: Jet) -> Jet:
    """A derivative of the logistic function: a polynomial of its value and of that at the opposite."""
    value, rest = x.sigmoid(), (-x).sigmoid()
    both, difference = value * rest, -((x / 2).tanh())
    return (
        value,
        both,
        both * difference,
        both * (1 - both * 6),
        both * difference * (1 - both * 12),
    )[order]


def _scaled(order: int, factor: float, rate: float) -> Formula:
    return lambda x: _logistic(order, x * rate) * factor


def _softplus(order: int, given: tuple[float, ...]) -> Oracle:
    rate, threshold = given
    curved = _scaled(order - 1, rate ** (order - 1), rate)
    at = threshold / rate
    return Piecewise(
        [curved, constant(1.0 if order == 1 else 0.0)],
        [at],
        [float(curved(Jet.value(arb(threshold) / rate)).f)],
    )


def _log_sigmoid(order: int, given: tuple[float, ...]) -> Oracle:
    if order == 1:
        return Smooth(lambda x: (-x).sigmoid())
    return Smooth(_scaled(order - 1, -1.0, 1.0))


# ---------------------------------------------------------------------- gates


def _gelu(order: int, given: tuple[float, ...]) -> Oracle:
    def formula(x: Jet) -> Jet:
        density = (-(x**2) / 2).exp() / (arb.pi() * 2).sqrt()
        if order == 1:
            return (x / -arb(2).sqrt()).erfc() / 2 + x * density
        return (2 - x**2, x**3 - x * 4, -(x**4) + x**2 * 7 - 4)[order - 2] * density

    return Smooth(formula)


def _silu(order: int, given: tuple[float, ...]) -> Oracle:
    return Smooth(lambda x: x * _logistic(order, x) + _logistic(order - 1, x) * order)


def _faa_di_bruno(order: int, outer: list[Jet], inner: list[Jet]) -> Jet:
    """A derivative of a composed function, from those of the two."""
    if order == 0:
        return outer[0]
    if order == 1:
        return outer[1] * inner[1]
    if order == 2:
        return outer[2] * inner[1] ** 2 + outer[1] * inner[2]
    return outer[3] * inner[1] ** 3 + outer[2] * inner[1] * inner[2] * 3 + outer[1] * inner[3]


def _gelu_tanh(order: int, given: tuple[float, ...]) -> Oracle:
    def formula(x: Jet) -> Jet:
        rate, cubic = (8 / arb.pi()).sqrt(), arb(0.044715)
        inner = [
            (x + x**3 * cubic) * rate,
            (x**2 * (cubic * 3) + 1) * rate,
            x * (cubic * 6 * rate),
            x * 0 + cubic * 6 * rate,
        ]
        outer = [_logistic(n, inner[0]) for n in range(4)]
        return x * _faa_di_bruno(order, outer, inner) + _faa_di_bruno(order - 1, outer, inner) * order

    return Smooth(formula)


def _mish(order: int, given: tuple[float, ...]) -> Oracle:
    def formula(x: Jet) -> Jet:
        inner = [x.softplus(), *[_logistic(n, x) for n in range(3)]]
        # tanh(y) = 2 σ(2y) − 1
        outer = [inner[0].tanh(), *[_logistic(n, inner[0] * 2) * 2.0 ** (n + 1) for n in (1, 2, 3)]]
        return x * _faa_di_bruno(order, outer, inner) + _faa_di_bruno(order - 1, outer, inner) * order

    return Smooth(formula, adds=abs)  # numbers of the operand's size cancel


# ---------------------------------------------------------------------- pieces


def _steps(values: list[float], places: list[float], at: list[float]) -> Oracle:
    return Piecewise([constant(v) for v in values], places, at, exactly)


def _elu(order: int, given: tuple[float, ...]) -> Oracle:
    alpha, scale, rate = given
    left = arb(alpha) * scale * arb(rate) ** order
    right = scale if order == 1 else 0.0
    return Piecewise([lambda x: (x * rate).exp() * left, constant(right)], [0.0], [float(left)])


def _hardswish(order: int, given: tuple[float, ...]) -> Oracle:
    if order == 1:
        formulas = [constant(0.0), lambda x: x / 3 + arb(1) / 2, constant(1.0)]
        return Piecewise(formulas, [-3.0, 3.0], [0.0, 1.0], abs)
    return _steps([0.0, 1 / 3, 0.0], [-3.0, 3.0], [1 / 3, 1 / 3])


def _softsign(order: int, given: tuple[float, ...]) -> Oracle:
    if order == 0:
        return Piecewise([lambda x: 1 / (1 - x) - 1, lambda x: 1 - 1 / (x + 1)], [0.0])
    return Piecewise([lambda x: (1 - x) ** -2, lambda x: (x + 1) ** -2], [0.0])


#: A sixth, as PyTorch's derivative of hardsigmoid has it.
_SIXTH = 0.16666667163372040

_ORACLES: Mapping[str, OracleOfOrder] = {
    "sigmoid": lambda order, given: Smooth(_scaled(order, 1.0, 1.0)),
    "tanh": lambda order, given: Smooth(_scaled(order, 2.0 ** (order + 1), 2.0)),
    "softplus": _softplus,
    "log_sigmoid": _log_sigmoid,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": _silu,
    "mish": _mish,
    "softsign": _softsign,
    "elu": _elu,
    "hardswish": _hardswish,
    "hardsigmoid": lambda order, given: _steps([0.0, _SIXTH, 0.0], [-3.0, 3.0], [0.0, 0.0]),
    "relu": lambda order, given: _steps([0.0, 1.0], [0.0], [0.0]),
    "leaky_relu": lambda order, given: _steps([given[0], 1.0], [0.0], [given[0]]),
    "hardtanh": lambda order, given: _steps([0.0, 1.0, 0.0], list(given), [0.0, 0.0]),
    "softshrink": lambda order, given: _steps([1.0, 0.0, 1.0], [-given[0], given[0]], [0.0, 0.0]),
    "abs": lambda order, given: _steps([-1.0, 1.0], [0.0], [0.0]),
}

__all__ = ["derivative"]
