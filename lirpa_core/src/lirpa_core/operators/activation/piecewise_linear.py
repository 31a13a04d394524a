"""Piecewise linear functions: ReLU and its kin, clamps, absolute value, shrinkage.

References:
    Zhang et al. 2018, "Efficient Neural Network Robustness Certification with General Activation
    Functions", for the adaptive slope of ReLU; here it is the tangent at the midpoint.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lirpa_core.operators.activation.steps import refuse_open_threshold
from lirpa_core.operators.limits import CLAMP, CLAMP_MAX, CLAMP_MIN, PRELU, PRELU_KERNEL
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.call import Call, Const
from lirpa_core.rules.unary import CONCAVE, CONVEX, Curve, Jump, Lines, Unary, UnaryOrSeveral, parameter

#: An interval shorter than so many times the smallest normal number has no derivative of its chord's slope.
_SHORT = 16


def relu_lines(lo: Tensor, hi: Tensor) -> Lines:
    """Of ReLU: below, the tangent at the midpoint, through zero; above, the chord.

    Where the interval is so short that the chord's slope has no derivative, or so long that it overflows, the tangent
    takes its place.
    """
    tangent = (hi > -lo).to(lo.dtype)
    run = hi - lo
    length = run.detach()
    bent = (lo < 0) & (hi > 0) & (length > _SHORT * torch.finfo(lo.dtype).tiny) & (length < math.inf)
    slope = torch.where(bent, hi / torch.where(bent, run, 1), tangent)
    at_lo, at_hi = torch.relu(lo), torch.relu(hi)
    return (
        tangent,
        None,
        slope,
        torch.addcmul(at_lo, slope, lo, value=-1).maximum(torch.addcmul(at_hi, slope, hi, value=-1)),
    )


RELU = Curve(
    rounding="exact",
    f=torch.relu,
    df=lambda x: (x > 0).to(x.dtype),
    corners=(0.0,),
    monotone=1,
    shape=CONVEX,
    homogeneous=True,
    lines=relu_lines,
)

ABS = Curve(rounding="exact", f=torch.abs, df=torch.sign, corners=(0.0,), shape=CONVEX, homogeneous=True)


def leaky_relu(call: Call) -> Curve:
    """`leaky_relu(self, negative_slope)`; any slope, also negative or above one."""
    slope = float(call["negative_slope"])
    return Curve(
        rounding="relative",
        f=lambda x: F.leaky_relu(x, slope),
        df=lambda x: torch.where(x > 0, torch.ones_like(x), slope),
        corners=(0.0,),
        monotone=1 if slope >= 0 else 0,
        shape=CONVEX if slope <= 1 else CONCAVE,
        homogeneous=True,
    )


def prelu(call: Call) -> Curve:
    """`prelu(self, weight)`: one slope, or one for each entry of dimension 1 of the example."""
    weight: Const = call["weight"]
    lead = weight.value.shape[:1] if weight.batched else ()
    # From the channels of the example `[N, C, ...]` on; in front, batch and N.
    trailing = (1,) * max(len(call.shape) - 2, 0)
    return _prelu(weight.value.reshape(*lead, *(1,) * len(lead), -1, *trailing))


def prelu_kernel(call: Call) -> Curve:
    """`_prelu_kernel(self, weight)`: the weight broadcasts against the example."""
    return _prelu(parameter(call, "weight"))


def _prelu(weight: Tensor) -> Curve:
    return Curve(
        rounding="relative",
        f=lambda x: x.clamp(min=0) + weight * x.clamp(max=0),
        df=lambda x: torch.where(x > 0, torch.ones_like(weight), weight),
        corners=(0.0,),
        homogeneous=True,
    )


def clamp(call: Call) -> Curve:
    """`clamp(self, min, max)` with numbers, constant tensors, or nothing on either side."""
    return _clamp(parameter(call, "min"), parameter(call, "max"))


def clamp_min(call: Call) -> Curve:
    """`clamp_min(self, min)`."""
    return _clamp(parameter(call, "min"), None)


def clamp_max(call: Call) -> Curve:
    """`clamp_max(self, max)`."""
    return _clamp(None, parameter(call, "max"))


def hardtanh(call: Call) -> Curve:
    """`hardtanh(self, min_val, max_val)`."""
    return _clamp(call["min_val"], call["max_val"])


def _clamp(low: Any, high: Any) -> Curve:
    low = float(low) if isinstance(low, int | float) else low
    high = float(high) if isinstance(high, int | float) else high

    def f(x: Tensor) -> Tensor:
        x = x if low is None else x.clamp(min=low)
        return x if high is None else x.clamp(max=high)

    def df(x: Tensor) -> Tensor:
        free = torch.ones_like(x, dtype=torch.bool)
        free = free if low is None else free & (x > low)
        return (free if high is None else free & (x < high)).to(x.dtype)

    corners = tuple(c for c in (low, high) if c is not None)
    shape = {(True, False): CONVEX, (False, True): CONCAVE}.get((low is not None, high is not None), 0)
    return Curve(rounding="exact", f=f, df=df, corners=corners, monotone=1, shape=shape)


HARDSIGMOID = Curve(
    rounding="absolute",
    reach=4.0,
    f=F.hardsigmoid,
    df=lambda x: (x.abs() < 3).to(x.dtype) / 6,
    corners=(-3.0, 3.0),
    monotone=1,
)


def softshrink(call: Call) -> Curve:
    """`softshrink(self, lambd)`: towards zero by `lambd`."""
    lambd = float(call["lambd"])
    return Curve(
        rounding="relative",
        f=lambda x: F.softshrink(x, lambd),
        df=lambda x: (x.abs() > lambd).to(x.dtype),
        corners=(-lambd, lambd),
        monotone=1,
    )


def hardshrink(call: Call) -> Curve:
    """`hardshrink(self, lambd)`: zero within `lambd` of zero, with a jump at either end."""
    lambd = float(call["lambd"])
    jumps = (Jump(-lambd, -lambd, 0.0), Jump(lambd, 0.0, lambd)) if lambd > 0 else ()
    return Curve(
        rounding="relative",
        f=lambda x: F.hardshrink(x, lambd),
        df=lambda x: (x.abs() > lambd).to(x.dtype) if lambd > 0 else torch.ones_like(x),
        corners=jumps,
        monotone=1,
    )


def threshold(call: Call) -> Curve:
    """`threshold(self, threshold, value)`: `value` up to the threshold, the identity above."""
    at, value = float(call["threshold"]), float(call["value"])
    return Curve(
        rounding="relative",
        f=lambda x: F.threshold(x, at, value),
        df=lambda x: (x > at).to(x.dtype),
        corners=(Jump(at, value, at),) if math.isfinite(at) else (),
        monotone=1 if value <= at else 0,
    )


def register(registry: OperatorRegistry) -> None:
    """Register the rules of this file."""
    aten = torch.ops.aten
    registry.register(aten.relu.default, Unary(RELU))
    registry.register(aten.leaky_relu.default, Unary(leaky_relu))
    registry.register(aten.prelu.default, UnaryOrSeveral(prelu, several=PRELU))
    registry.register(aten._prelu_kernel.default, UnaryOrSeveral(prelu_kernel, several=PRELU_KERNEL))
    registry.register(aten.clamp.Tensor, UnaryOrSeveral(clamp, several=CLAMP))
    registry.register(aten.clamp_min.Tensor, UnaryOrSeveral(clamp_min, several=CLAMP_MIN))
    registry.register(aten.clamp_max.Tensor, UnaryOrSeveral(clamp_max, several=CLAMP_MAX))
    registry.register(aten.hardtanh.default, Unary(hardtanh))
    registry.register(aten.relu6.default, Unary(_clamp(0.0, 6.0)))
    registry.register(aten.clamp.default, Unary(clamp))
    registry.register(aten.clamp_min.default, Unary(clamp_min))
    registry.register(aten.clamp_max.default, Unary(clamp_max))
    registry.register(aten.hardsigmoid.default, Unary(HARDSIGMOID))
    registry.register(aten.abs.default, Unary(ABS))
    registry.register(aten.softshrink.default, Unary(softshrink))
    registry.register(aten.hardshrink.default, Unary(hardshrink, refuse=refuse_open_threshold))
    registry.register(aten.threshold.default, Unary(threshold, refuse=refuse_open_threshold))
