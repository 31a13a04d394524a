"""The functions behind the unary operators of PyTorch, for proofs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

import torch
from flint import arb

from lirpa_core.rules import Call, Const
from lirpa_testing.proof import monotone
from lirpa_testing.proof.derivatives import derivative
from lirpa_testing.proof.jets import Jet
from lirpa_testing.proof.oracle import (
    Formula,
    Joined,
    Oracle,
    Piecewise,
    Smooth,
    Stairs,
    constant,
    exactly,
    line,
)


@dataclass(frozen=True)
class Arguments:
    """The arguments of a call, as one element of its output sees them.

    Attributes:
        call: The call.
        index: The element `(example, *position)`.
    """

    call: Call
    index: tuple[int, ...]

    def __getitem__(self, name: str) -> Any:
        value = self.call[name]
        if not isinstance(value, Const):
            return value
        tensor = value.value
        lead, position = self.index[:1] if value.batched else (), self.index[1:]
        rank = tensor.dim() - len(lead)
        full = tensor.reshape(
            *tensor.shape[: len(lead)], *(1,) * (len(position) - rank), *tensor.shape[len(lead) :]
        )
        place = tuple(min(i, n - 1) for i, n in zip(lead + position, full.shape, strict=True))
        return full[place].item()

    def number(self, name: str) -> float:
        """An argument as the operator computes with it: rounded to the element type of the operand."""
        return torch.tensor(float(self[name]), dtype=self.call.slot_dtype(0)).item()


#: From the arguments of a call to the function of its operand.
OracleOf: TypeAlias = Callable[[Arguments], Oracle]

_X = line(1.0)
_ZERO = constant(0.0)
_ONE = constant(1.0)


def _pieces(
    formulas: Sequence[Formula], breaks: Sequence[float], at: Sequence[float] | None = None
) -> Piecewise:
    return Piecewise(formulas, breaks, at, exactly)


def _always(oracle: Oracle) -> OracleOf:
    return lambda _: oracle


def _smooth(formula: Formula, period: float | None = None) -> OracleOf:
    return _always(Smooth(formula, period, exactly))


# ---------------------------------------------------------------------- exponentials


# Constants are multiplied inside of the formulas, where the precision is that of the proof.


def _elu(alpha: float, scale: float, rate: float) -> Oracle:
    return Piecewise(
        [lambda x: (x * rate).expm1() * (arb(alpha) * scale), line(scale)],
        [0.0],
        adds=_inner(rate, lambda x: alpha * scale * rate * _exp(rate * x) if x < 0 else 0.0),
    )


def _celu(alpha: float) -> Oracle:
    return Piecewise(
        [lambda x: (x / alpha).expm1() * alpha, _X],
        [0.0],
        adds=_inner(alpha, lambda x: _exp(x / alpha) if x < 0 else 0.0),
    )


def _softplus(given: Arguments) -> Oracle:
    beta, threshold = given.number("beta"), given.number("threshold")
    at = Fraction(threshold) / Fraction(beta)

    def curved(x: Jet) -> Jet:
        return (x * beta).softplus() / beta

    return Piecewise(
        [curved, _X] if beta > 0 else [_X, curved],
        [float(at) if float(at) == at else at],
        [float(curved(Jet.value(arb(threshold) / beta)).f)],
        adds=_inner(beta, lambda x: 1 / (1 + _exp(-beta * x)) if x * beta < threshold else 0.0),
    )


def _exp(x: float) -> float:
    return math.exp(min(x, 700.0))


def _inner(factor: float, slope: Callable[[float], float]) -> Callable[[float], float]:
    """What rounding the product of `x` and a factor does to `f(x)`, relative to an ulp: `x f'(x)`."""
    return exactly if abs(factor) == 1 else lambda x: abs(x * slope(x))


def _base_to_the(given: Arguments) -> Oracle:
    base = given.number("self")
    return Smooth(lambda x: (x * arb(base).log()).exp(), adds=exactly)


# ---------------------------------------------------------------------- gated


def _gelu(given: Arguments) -> Oracle:
    if given["approximate"] == "tanh":

        def formula(x: Jet) -> Jet:
            inner = (x + x**3 * arb(0.044715)) * (8 / arb.pi()).sqrt()
            return x * inner.sigmoid()

    else:

        def formula(x: Jet) -> Jet:
            return x * (x * (-1 / arb(2).sqrt())).erfc() / 2

    return Smooth(formula, adds=abs)


def _mish(x: Jet) -> Jet:
    return x * x.softplus().tanh()


_HARDSWISH = Piecewise([_ZERO, lambda x: x * (x + 3) / 6, _X], [-3.0, 3.0], adds=abs)

# ---------------------------------------------------------------------- powers


def power(exponent: float) -> Oracle:
    """`x ** exponent`."""
    if exponent == 0:
        return Smooth(_ONE, adds=exactly)
    return Smooth(lambda x: x**exponent, adds=exactly)


# ---------------------------------------------------------------------- piecewise linear


def _kinked(slopes: tuple[float, float]) -> Oracle:
    return _pieces([line(slopes[0]), line(slopes[1])], [0.0])


def _prelu(given: Arguments) -> Oracle:
    weight: Const = given.call["weight"]
    row = weight.value[given.index[0]] if weight.batched else weight.value
    channel = given.index[2] if len(given.index) > 2 and row.numel() > 1 else 0
    return _kinked((float(row.reshape(-1)[channel]), 1.0))


def _clamp(low: float | None, high: float | None) -> Oracle:
    if low is None and high is None:
        return Smooth(_X, adds=exactly)
    if low is None:
        return _pieces([_X, constant(_number(high))], [_number(high)])
    if high is None:
        return _pieces([constant(low), _X], [low])
    if low >= high:
        return Smooth(constant(high), adds=exactly)  # PyTorch: the maximum wins
    return _pieces([constant(low), _X, constant(high)], [low, high])


def _number(value: float | None) -> float:
    assert value is not None
    return value


def _limit(given: Arguments, name: str) -> float | None:
    value = given[name]
    return None if value is None else given.number(name)


def _sixth(x: Jet) -> Jet:
    return (x + 3) / 6


def _softshrink(given: Arguments) -> Oracle:
    size = given.number("lambd")
    return _pieces([line(1.0, size), _ZERO, line(1.0, -size)], [-size, size])


def _hardshrink(given: Arguments) -> Oracle:
    size = given.number("lambd")
    return _pieces([_X, _ZERO, _X], [-size, size], [0.0, 0.0]) if size > 0 else Smooth(_X, adds=exactly)


def _threshold(given: Arguments) -> Oracle:
    at, value = given.number("threshold"), given.number("value")
    return _pieces([constant(value), _X], [at], [value])


# ---------------------------------------------------------------------- steps

_FLOOR = Stairs(math.floor)
_CEIL = Stairs(math.ceil)
# Halves go to the even neighbour, so that the pattern repeats every other step.
_ROUND = Stairs(round, Fraction(1, 2), period=2)
_SIGN = _pieces([constant(-1.0), _ONE], [0.0], [0.0])


def _comparison(left: float, right: float, equal: float) -> OracleOf:
    def oracle(given: Arguments) -> Oracle:
        other, below, above = "other", left, right
        if given.call.slot("self") is None:
            other, below, above = "self", right, left
        return _pieces([constant(below), constant(above)], [given.number(other)], [equal])

    return oracle


def _position(name: str) -> OracleOf:
    def oracle(given: Arguments) -> Oracle:
        steps = [float(at) for at in given.call[name].value]
        right = bool(given["right"])
        values = [constant(float(i)) for i in range(len(steps) + 1)]
        return _pieces(values, steps, [float(i + right) for i in range(len(steps))])

    return oracle


def _polygamma(given: Arguments) -> Oracle:
    """Of the first, PyTorch's kernel is off by 4.9e-10, which the rule adds; of the others by a few units."""
    n = int(given["n"])
    if n == 0:
        return Smooth(monotone.digamma, None, lambda x: 2.0)
    factor = (-1) ** (n + 1) * math.factorial(n)
    return Smooth(
        lambda x: monotone.zeta(n + 1)(x) * factor,
        None,
        lambda x: 2 * torch.polygamma(n, torch.tensor(x, dtype=torch.float64)).abs().item(),
    )


_aten = torch.ops.aten

#: From operator to the function it applies to each element.
ORACLES: Mapping[Any, OracleOf] = {
    # logarithms, roots and other functions that bend one way
    _aten.log.default: _smooth(lambda x: x.log()),
    _aten.log2.default: _smooth(lambda x: x.log() / arb(2).log()),
    _aten.log10.default: _smooth(lambda x: x.log() / arb(10).log()),
    _aten.log1p.default: _smooth(lambda x: x.log1p()),
    _aten.sqrt.default: _smooth(lambda x: x.sqrt()),
    _aten.rsqrt.default: _smooth(lambda x: x**-0.5),
    _aten.reciprocal.default: _smooth(lambda x: x**-1),
    _aten.acosh.default: _smooth(lambda x: x.acosh()),
    _aten.cosh.default: _smooth(lambda x: x.cosh()),
    # exponentials
    _aten.exp.default: _smooth(lambda x: x.exp()),
    _aten.expm1.default: _smooth(lambda x: x.expm1()),
    _aten.exp2.default: _smooth(lambda x: (x * arb(2).log()).exp()),
    _aten.pow.Scalar: _base_to_the,
    _aten.softplus.default: _softplus,
    _aten.log_sigmoid.default: _smooth(lambda x: -(-x).softplus()),
    _aten.elu.default: lambda g: _elu(g.number("alpha"), g.number("scale"), g.number("input_scale")),
    _aten.celu.default: lambda g: _celu(g.number("alpha")),
    _aten.selu.default: _always(_elu(1.6732632423543772848170429916717, 1.0507009873554804934193349852946, 1.0)),
    # gated
    _aten.gelu.default: _gelu,
    _aten.silu.default: _smooth(lambda x: x * x.sigmoid()),
    _aten.mish.default: _smooth(_mish),
    _aten.hardswish.default: _always(_HARDSWISH),
    # periodic
    _aten.sin.default: _smooth(lambda x: x.sin(), period=2 * math.pi),
    _aten.cos.default: _smooth(lambda x: x.cos(), period=2 * math.pi),
    _aten.tan.default: _smooth(lambda x: x.tan()),
    # piecewise linear
    _aten.relu.default: _always(_kinked((0.0, 1.0))),
    _aten.leaky_relu.default: lambda g: _kinked((g.number("negative_slope"), 1.0)),
    _aten.prelu.default: _prelu,
    _aten._prelu_kernel.default: lambda g: _kinked((g.number("weight"), 1.0)),
    _aten.hardtanh.default: lambda g: _clamp(g.number("min_val"), g.number("max_val")),
    _aten.relu6.default: _always(_clamp(0.0, 6.0)),
    _aten.clamp.default: lambda g: _clamp(_limit(g, "min"), _limit(g, "max")),
    _aten.clamp.Tensor: lambda g: _clamp(_limit(g, "min"), _limit(g, "max")),
    _aten.clamp_min.default: lambda g: _clamp(_limit(g, "min"), None),
    _aten.clamp_min.Tensor: lambda g: _clamp(_limit(g, "min"), None),
    _aten.clamp_max.default: lambda g: _clamp(None, _limit(g, "max")),
    _aten.clamp_max.Tensor: lambda g: _clamp(None, _limit(g, "max")),
    _aten.hardsigmoid.default: _always(_pieces([_ZERO, _sixth, _ONE], [-3.0, 3.0])),
    _aten.abs.default: _always(_kinked((-1.0, 1.0))),
    _aten.softshrink.default: _softshrink,
    _aten.hardshrink.default: _hardshrink,
    _aten.threshold.default: _threshold,
    # powers
    _aten.square.default: _always(power(2.0)),
    _aten.pow.Tensor_Scalar: lambda g: power(float(g["exponent"])),  # PyTorch does not round the exponent
    # functions shaped like an S
    _aten.sigmoid.default: _smooth(lambda x: x.sigmoid()),
    _aten.tanh.default: _smooth(lambda x: x.tanh()),
    _aten.erf.default: _smooth(lambda x: x.erf()),
    _aten.erfc.default: _smooth(lambda x: x.erfc()),
    _aten.atan.default: _smooth(lambda x: x.atan()),
    _aten.asinh.default: _smooth(lambda x: x.asinh()),
    _aten.sinh.default: _smooth(lambda x: x.sinh()),
    _aten.asin.default: _smooth(lambda x: x.asin()),
    _aten.acos.default: _smooth(lambda x: x.acos()),
    _aten.atanh.default: _smooth(lambda x: x.atanh()),
    torch.ops.lirpa.derivative.default: derivative,
    # special functions
    _aten.lgamma.default: _smooth(lambda x: x.lgamma()),
    _aten.erfinv.default: _smooth(lambda x: x.erfinv()),
    _aten.special_entr.default: _smooth(lambda x: -(x * x.log())),
    _aten.digamma.default: _always(Smooth(monotone.digamma, None, lambda x: 2.0)),  # a root, around which numbers cancel
    _aten.special_zeta.default: lambda g: Smooth(monotone.zeta(g.number("self")), None, exactly),
    _aten.special_zeta.self_scalar: lambda g: Smooth(monotone.zeta(float(g["self"])), None, exactly),
    _aten.polygamma.default: _polygamma,
    # The square of the operand is rounded inside of an exponential, and kernels add up long sums.
    _aten.special_erfcx.default: _always(
        Smooth(monotone.erfcx, None, lambda x: 2 * (1 + x * x) * torch.special.erfcx(torch.tensor(x)).item())
    ),
    _aten.special_log_ndtr.default: _always(
        Smooth(monotone.log_ndtr, None, lambda x: x * x * math.erfc(x / math.sqrt(2)) if x > 0 else 0.0)
    ),
    _aten.i0.default: _always(_pieces([lambda x: monotone.i0(-x), monotone.i0], [0.0])),
    _aten.special_i0.default: _always(_pieces([lambda x: monotone.i0(-x), monotone.i0], [0.0])),
    _aten.special_i0e.default: _always(_pieces([lambda x: monotone.i0e(-x), monotone.i0e], [0.0])),
    _aten.special_i1.default: _always(
        Piecewise(
            [lambda x: -monotone.i1(-x), monotone.i1], [0.0], None,
            lambda x: 2 * torch.special.i1(torch.tensor(abs(x))).item(),
        )
    ),
    _aten.bucketize.Tensor: _position("boundaries"),
    _aten.searchsorted.Tensor: _position("sorted_sequence"),
    # steps
    _aten.floor.default: _always(_FLOOR),
    _aten.ceil.default: _always(_CEIL),
    _aten.trunc.default: _always(Joined(_CEIL, _FLOOR, 0.0)),
    _aten.round.default: _always(_ROUND),
    _aten.sign.default: _always(_SIGN),
    _aten.sgn.default: _always(_SIGN),
    _aten.heaviside.default: lambda g: _pieces([_ZERO, _ONE], [0.0], [g.number("values")]),
    **{
        getattr(getattr(_aten, name), overload): _comparison(*values)
        for overload in ("Scalar", "Tensor")
        for name, values in {
            "gt": (0.0, 1.0, 0.0), "ge": (0.0, 1.0, 1.0), "lt": (1.0, 0.0, 0.0),
            "le": (1.0, 0.0, 1.0), "eq": (0.0, 0.0, 1.0), "ne": (1.0, 1.0, 0.0),
        }.items()
    },
}  # fmt: skip


def oracle_of(call: Call) -> OracleOf | None:
    """What the operator of a call computes of its one perturbed operand, if the table knows it."""
    parameters = [call.slot(name) for name in ("weight", "min", "max") if name in call.arguments]
    return ORACLES.get(call.node.target) if parameters.count(None) == len(parameters) else None
