"""Elementwise functions that random programs are made of: as PyTorch's source, and of one ball."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from flint import arb

from lirpa_testing.fuzz.balls import (
    ball,
    choose,
    positive,
    remainder,
    sigmoid,
    smooth_softplus,
    softplus,
    tail,
    tanh,
)

_F = "torch.nn.functional"

#: The number of float32 next to a tenth, which is one of float64 too, with as many digits as a divisor can have.
_TENTH = 0.10000000149011612

#: Elementwise functions: PyTorch's source and the function of one ball.
ELEMENTWISE: Final[Mapping[str, tuple[str, Callable[[arb], arb]]]] = MappingProxyType(
    {
        "relu": ("torch.relu({a})", lambda x: x.max(arb(0))),
        "leaky_relu": (_F + ".leaky_relu({a}, 0.125)", lambda x: x.max(x / 8)),
        "abs": ("{a}.abs()", abs),
        "neg": ("-{a}", lambda x: -x),
        "half": ("{a} * 0.5", lambda x: x / 2),
        "shift": ("{a} + 1000.0", lambda x: x + 1000),
        "tanh": ("torch.tanh({a})", tanh),
        "sigmoid": ("torch.sigmoid({a})", sigmoid),
        "silu": (_F + ".silu({a})", lambda x: x * sigmoid(x)),
        "gelu": (_F + ".gelu({a})", lambda x: x * tail(x)),
        "softplus": (_F + ".softplus({a})", softplus),
        "softplus_with_rate": (_F + ".softplus({a}, 3.0)", lambda x: softplus(3 * x) / 3),
        "mish": (_F + ".mish({a})", lambda x: x * smooth_softplus(x).tanh()),
        "log_sigmoid": (_F + ".logsigmoid({a})", lambda x: -smooth_softplus(-x)),
        "gelu_tanh": (
            _F + ".gelu({a}, approximate='tanh')",
            lambda x: x * sigmoid(2 * (2 / arb.pi()).sqrt() * (x + x * x * x * ball(0.044715))),
        ),
        "celu": (_F + ".celu({a}, 0.5)", lambda x: positive(x) + (x.min(arb(0)) * 2).expm1() / 2),
        "selu": (
            _F + ".selu({a})",
            lambda x: (
                ball(1.0507009873554804934193349852946)
                * (positive(x) + ball(1.6732632423543772848170429916717) * x.min(arb(0)).expm1())
            ),
        ),
        "relu6": (_F + ".relu6({a})", lambda x: positive(x).min(arb(6))),
        "hardsigmoid": (_F + ".hardsigmoid({a})", lambda x: positive(x / 6 + arb(1) / 2).min(arb(1))),
        "hardswish": (
            _F + ".hardswish({a})",
            lambda x: x * positive(x / 6 + arb(1) / 2).min(arb(1)),
        ),
        "hardshrink": (
            _F + ".hardshrink({a}, 0.5)",
            lambda x: choose(abs(x), arb(1) / 2, x, 0 * x),
        ),
        "softshrink": (
            _F + ".softshrink({a}, 0.5)",
            lambda x: positive(x - arb(1) / 2) + (x + arb(1) / 2).min(arb(0)),
        ),
        "threshold": (_F + ".threshold({a}, 0.25, -1.0)", lambda x: choose(x, arb(1) / 4, x, arb(-1))),
        "softsign": (_F + ".softsign({a})", lambda x: x / (1 + abs(x))),
        "tanhshrink": (_F + ".tanhshrink({a})", lambda x: x - x.tanh()),
        "asinh": ("torch.asinh({a})", lambda x: x.asinh()),
        "sinh": ("torch.sinh({a})", lambda x: x.sinh()),
        "cosh": ("torch.cosh({a})", lambda x: (x.exp() + (-x).exp()) / 2),
        "expm1": ("torch.expm1({a})", lambda x: x.expm1()),
        "erfc": ("torch.erfc({a})", lambda x: x.erfc()),
        "log1p_of_abs": ("torch.log1p({a}.abs())", lambda x: abs(x).log1p()),
        "rsqrt": ("({a}.square() + 0.125).rsqrt()", lambda x: 1 / (x * x + arb(1) / 8).sqrt()),
        "power": (
            "({a}.abs() + 0.125) ** 1.5",
            lambda x: (abs(x) + arb(1) / 8) * (abs(x) + arb(1) / 8).sqrt(),
        ),
        "floor": ("torch.floor({a})", lambda x: x.floor()),
        "remainder": ("torch.remainder({a}, 1.5)", lambda x: remainder(x, arb(3) / 2)),
        "remainder_of_tenth": (f"torch.remainder({{a}}, {_TENTH!r})", lambda x: remainder(x, ball(_TENTH))),
        "above_tenth": (
            f"({{a}} > {_TENTH!r}).to({{a}}.dtype)",
            lambda x: choose(x, ball(_TENTH), arb(1), arb(0)),
        ),
        "third": ("{a} / 3.0", lambda x: x / 3),
        "power_of_number": ("1.5 ** {a}", lambda x: (x * (arb(3) / 2).log()).exp()),
        "step": ("torch.where({a} > 0.25, {a}, {a} * 0.5)", lambda x: choose(x, arb(1) / 4, x, x / 2)),
        "slope_of_sigmoid": (
            "torch.ops.lirpa.derivative({a}, 'sigmoid', 1, [])",
            lambda x: sigmoid(x) * sigmoid(-x),
        ),
        "slope_of_tanh": (
            "torch.ops.lirpa.derivative({a}, 'tanh', 1, [])",
            lambda x: 4 * sigmoid(2 * x) * sigmoid(-2 * x),
        ),
        "curvature_of_tanh": (
            "torch.ops.lirpa.derivative({a}, 'tanh', 2, [])",
            lambda x: -8 * x.tanh() * sigmoid(2 * x) * sigmoid(-2 * x),
        ),
        "third_derivative_of_tanh": (
            "torch.ops.lirpa.derivative({a}, 'tanh', 3, [])",
            lambda x: 8 * sigmoid(2 * x) * sigmoid(-2 * x) * (3 * x.tanh() * x.tanh() - 1),
        ),
        "slope_of_silu": (
            "torch.ops.lirpa.derivative({a}, 'silu', 1, [])",
            lambda x: sigmoid(x) * (1 + x * sigmoid(-x)),
        ),
        "elu": (_F + ".elu({a})", lambda x: x.max(arb(0)) + x.min(arb(0)).expm1()),
        "exp": ("torch.exp({a})", lambda x: x.exp()),
        "sin": ("torch.sin({a})", lambda x: x.sin()),
        "cos": ("torch.cos({a})", lambda x: x.cos()),
        "atan": ("torch.atan({a})", lambda x: x.atan()),
        "erf": ("torch.erf({a})", lambda x: x.erf()),
        "square": ("{a}.square()", lambda x: x * x),
        "cube": ("{a} ** 3", lambda x: x**3),
        "hardtanh": (_F + ".hardtanh({a})", lambda x: x.max(arb(-1)).min(arb(1))),
        "clamp": ("{a}.clamp(-0.5, 0.75)", lambda x: x.max(arb(-1) / 2).min(arb(3) / 4)),
        "log_of_abs": ("({a}.abs() + 0.125).log()", lambda x: (abs(x) + arb(1) / 8).log()),
        "root_of_abs": ("({a}.abs() + 0.125).sqrt()", lambda x: (abs(x) + arb(1) / 8).sqrt()),
        "reciprocal": ("1 / ({a}.square() + 0.5)", lambda x: 1 / (x * x + arb(1) / 2)),
    }
)
