"""Activations of the form x times a gate: GELU, SiLU, Mish, Hardswish.

All are concave, then convex, then concave again. The slopes of their two concave arcs have no value
in common, so no line touches both, and tangents from the end points are enough for the best line.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.call import Call
from lirpa_core.rules.unary import CONCAVE, CONVEX, Arc, Curve, Unary
from lirpa_core.rules.unary.curve import Jet, Map

#: `sqrt(2 / pi)` and the cubic coefficient of Hendrycks and Gimpel's approximation of GELU.
_TANH_RATE, _TANH_CUBIC = math.sqrt(2 / math.pi), 0.044715
#: Beyond this all gates are 0 or 1 and their derivatives zero, in any floating point format.
_FLAT = 50.0
#: From here on what gates still differ from 0 or 1 by, times an operand, is far below what rounding of smaller ones makes.
FAR = 16.0


def _gated(f: Map, jet: Jet, inflections: tuple[float, float], minimum: float) -> Curve:
    low, high = inflections
    return Curve(
        f=f,
        df=lambda x: jet(x)[0],
        arcs=(
            Arc(CONCAVE, end=low, jet=jet, anchor=low - 1, limit=0.0),
            Arc(CONVEX, low, high, jet=jet, anchor=0.0),
            Arc(CONCAVE, start=high, jet=jet, anchor=high + 1, limit=1.0),
        ),
        extrema=(minimum,),
        inside=0.0,
        reach=FAR,
    )


def _gelu_jet(x: Tensor) -> tuple[Tensor, Tensor]:
    density = (-x.square() / 2).exp() / math.sqrt(2 * math.pi)
    below = torch.special.erfc(x * -math.sqrt(0.5)) / 2
    x = x.clamp(-_FLAT, _FLAT)
    return below + x * density, (2 - x.square()) * density


def _gelu_tanh_jet(x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clamp(-_FLAT, _FLAT)
    inner = _TANH_RATE * (x + _TANH_CUBIC * x.pow(3))
    rate = _TANH_RATE * (1 + 3 * _TANH_CUBIC * x.square())
    gate, rest = torch.sigmoid(2 * inner), torch.sigmoid(-2 * inner)
    bump = 2 * gate * rest  # derivative of the gate by `inner`
    first = gate + x * bump * rate
    second = bump * (2 * rate + x * (6 * _TANH_RATE * _TANH_CUBIC * x + 2 * (rest - gate) * rate.square()))
    return first, second


def _silu_jet(x: Tensor) -> tuple[Tensor, Tensor]:
    gate, rest = torch.sigmoid(x), torch.sigmoid(-x)
    bump = gate * rest
    return gate + x * bump, bump * (2 + x * (rest - gate))


def _mish_jet(x: Tensor) -> tuple[Tensor, Tensor]:
    gate = F.softplus(x).tanh()
    sigmoid = torch.sigmoid(x)
    bump = (1 - gate) * (1 + gate)
    first = bump * sigmoid
    second = bump * sigmoid * (torch.sigmoid(-x) - 2 * gate * sigmoid)
    return gate + x * first, 2 * first + x * second


GELU = _gated(F.gelu, _gelu_jet, (-math.sqrt(2), math.sqrt(2)), -0.7517915246935644574579)
GELU_TANH = _gated(
    lambda x: F.gelu(x, approximate="tanh"),
    _gelu_tanh_jet,
    (-1.418504008790828355548, 1.418504008790828355548),
    -0.752461422071016258488,
)
SILU = _gated(
    F.silu, _silu_jet, (-2.399357280515467667833, 2.399357280515467667833), -1.278464542761073795109
)
MISH = _gated(
    F.mish, _mish_jet, (-2.256376396360793120006, 1.490571179485428459294), -1.192431214515495212138
)

HARDSWISH = Curve(
    f=F.hardswish,
    df=lambda x: torch.where(x.abs() < 3, x / 3 + 0.5, (x > 0).to(x.dtype)),
    arcs=(Arc(CONVEX, -3.0, 3.0, inverse=lambda k: 3 * k - 1.5),),
    corners=(-3.0, 3.0),
    extrema=(-1.5,),
    reach=4.0,
)


def gelu(call: Call) -> Curve:
    """`gelu(self, approximate)`."""
    return GELU_TANH if call["approximate"] == "tanh" else GELU


def register(registry: OperatorRegistry) -> None:
    """Register the rules of this file."""
    aten = torch.ops.aten
    registry.register(aten.gelu.default, Unary(gelu))
    registry.register(aten.silu.default, Unary(SILU))
    registry.register(aten.mish.default, Unary(MISH))
    registry.register(aten.hardswish.default, Unary(HARDSWISH))
