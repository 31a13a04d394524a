"""Exponentials and the activations made of one: softplus, log-sigmoid, ELU and its variants."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.call import Call
from lirpa_core.rules.unary import CONCAVE, CONVEX, Arc, Curve, Jump, Unary

EXP = Curve(
    rounding="relative",
    f=torch.exp,
    df=torch.exp,
    arcs=(Arc(CONVEX, inverse=lambda k: k.clamp(min=0).log()),),
    monotone=1,
    shape=CONVEX,
    inside=0.0,
)

EXPM1 = Curve(
    rounding="relative", f=torch.expm1, df=torch.exp, arcs=EXP.arcs, monotone=1, shape=CONVEX, inside=0.0
)

EXP2 = Curve(
    rounding="relative",
    f=torch.exp2,
    df=lambda x: math.log(2) * x.exp2(),
    arcs=(Arc(CONVEX, inverse=lambda k: (k / math.log(2)).clamp(min=0).log2()),),
    monotone=1,
    shape=CONVEX,
    inside=0.0,
)


def base_to_the(call: Call) -> Curve:
    """`pow.Scalar(self, exponent)`: a constant base above zero to a perturbed exponent."""
    base = float(call["self"])
    rate = math.log(base)
    if rate == 0:
        return Curve(rounding="relative", f=torch.ones_like, df=torch.zeros_like, monotone=1)
    return Curve(
        rounding="relative",
        f=lambda x: torch.pow(base, x),
        df=lambda x: rate * torch.pow(base, x),
        arcs=(Arc(CONVEX, inverse=lambda k: (k / rate).clamp(min=0).log() / rate),),
        monotone=1 if rate > 0 else -1,
        shape=CONVEX,
        inside=0.0,
    )


def _refuse_base(call: Call) -> str | None:
    positive = float(call["self"]) > 0
    return None if positive else "a base that is not positive has no real powers in between"


def _logit(p: Tensor) -> Tensor:
    p = p.clamp(0, 1)
    return p.log() - (-p).log1p()


def softplus(call: Call) -> Curve:
    """`softplus(self, beta, threshold)`, with the small jump where PyTorch switches to the identity."""
    beta, threshold = float(call["beta"]), float(call["threshold"])
    at = threshold / beta
    curved = math.log1p(math.exp(threshold)) / beta if threshold < 500 else at
    up = beta > 0
    bend = CONVEX if up else CONCAVE
    return Curve(
        rounding="relative",
        f=lambda x: F.softplus(x, beta, threshold),
        df=lambda x: torch.where(x * beta > threshold, 1.0, torch.sigmoid(beta * x)),
        arcs=(Arc(bend, None if up else at, at if up else None, lambda k: _logit(k) / beta),),
        corners=(Jump(at, curved, at) if up else Jump(at, at, curved),),
        shape=bend if threshold >= 20 else 0,  # else the jump is worth a look
        inside=0.0,
        exponential=abs(beta) != 1,
    )


def _log_sigmoid(x: Tensor) -> Tensor:
    """Where it underflows the zero is negative, as the function is: of a positive one it would follow that none is below."""
    return -F.logsigmoid(x).abs()


LOG_SIGMOID = Curve(
    rounding="relative",
    f=_log_sigmoid,
    df=lambda x: torch.sigmoid(-x),
    arcs=(Arc(CONCAVE, inverse=lambda k: -_logit(k)),),
    monotone=1,
    shape=CONCAVE,
    inside=0.0,
)


def elu(call: Call) -> Curve:
    """`elu(self, alpha, scale, input_scale)`: an exponential up to zero, a straight line after."""
    return _elu(float(call["alpha"]), float(call["scale"]), float(call["input_scale"]))


def celu(call: Call) -> Curve:
    """`celu(self, alpha)`: like ELU, with the input divided by alpha, so that there is no kink."""
    alpha = float(call["alpha"])
    return _elu(alpha, 1.0, 1.0 / alpha, 1.0)


def _elu(alpha: float, scale: float, rate: float, steep: float | None = None) -> Curve:
    height = alpha * scale  # the exponential piece is height * (exp(rate * x) - 1)
    steep = height * rate if steep is None else steep  # its slope at zero
    bend = CONVEX if height > 0 else CONCAVE
    arc = Arc(bend, end=0.0, inverse=lambda k: (k / steep).clamp(min=0).log() / rate)
    kink = 0 if steep == scale else (CONVEX if steep < scale else CONCAVE)
    return Curve(
        rounding="relative",
        f=lambda x: torch.ops.aten.elu.default(x, alpha, scale, rate),
        df=lambda x: torch.where(x > 0, scale, steep * (rate * x.clamp(max=0)).exp()),
        arcs=(arc,) if steep != 0 else (),
        corners=(0.0,),
        monotone=1 if scale >= 0 and steep >= 0 else 0,
        shape=bend if kink in (0, bend) and steep != 0 else 0,
        inside=0.0,
        exponential=rate < 0,  # else it is at most one
    )


#: Constants of Klambauer et al. 2017, as in PyTorch.
SELU = _elu(1.6732632423543772848170429916717, 1.0507009873554804934193349852946, 1.0)


def register(registry: OperatorRegistry) -> None:
    """Register the rules of this file."""
    aten = torch.ops.aten
    registry.register(aten.exp.default, Unary(EXP))
    registry.register(aten.expm1.default, Unary(EXPM1))
    registry.register(aten.exp2.default, Unary(EXP2))
    registry.register(aten.pow.Scalar, Unary(base_to_the, operands=("exponent",), refuse=_refuse_base))
    registry.register(aten.softplus.default, Unary(softplus))
    registry.register(aten.log_sigmoid.default, Unary(LOG_SIGMOID))
    registry.register(aten.elu.default, Unary(elu))
    registry.register(aten.celu.default, Unary(celu))
    registry.register(aten.selu.default, Unary(SELU))
