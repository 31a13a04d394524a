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

from lirpa_core.linear.relax import unobserved
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.call import Call, Const
from lirpa_core.rules.unary import CONCAVE, CONVEX, Curve, Jump, Lines, Unary, chord, parameter


def relu_lines(lo: Tensor, hi: Tensor) -> Lines:
    """Of ReLU: below, the tangent at the midpoint, through zero; above, the chord."""
    if unobserved(lo, hi):
        return _relu_lines_without_gradients(lo, hi)
    tangent = (lo / 2 + hi / 2 > 0).to(lo.dtype)
    at_lo, at_hi = torch.relu(lo), torch.relu(hi)
    slope, valid = chord((lo, at_lo), (hi, at_hi))
    slope = torch.where(valid, slope, tangent)
    unstable = (lo < 0) & (hi > 0)
    slope = torch.where(unstable & slope.detach().isfinite(), slope, tangent)
    return tangent, None, slope, (at_lo - slope * lo).maximum(at_hi - slope * hi)


def _relu_lines_without_gradients(lo: Tensor, hi: Tensor) -> Lines:
    """The same lines in a third of the operations, which are what a small network takes its time for.

    The chord needs no case for a box that is stable: its slope then is exactly 0 or 1. Where the box is a point, or an
    end is infinite, it is not a number, and the tangent takes its place. Whatever the slope, the intercept follows
    from it.
    """
    tangent = (hi > -lo).to(lo.dtype)
    at_lo, at_hi = torch.relu(lo), torch.relu(hi)
    slope = (at_hi - at_lo) / (hi - lo)
    slope = torch.where(slope >= 0, slope, tangent)
    above = torch.addcmul(at_lo, slope, lo, value=-1).maximum(torch.addcmul(at_hi, slope, hi, value=-1))
    return tangent, None, slope, above


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
    registry.register(aten.prelu.default, Unary(prelu))
    registry.register(aten._prelu_kernel.default, Unary(prelu_kernel))
    registry.register(aten.hardtanh.default, Unary(hardtanh))
    registry.register(aten.relu6.default, Unary(_clamp(0.0, 6.0)))
    registry.register(aten.clamp.default, Unary(clamp))
    registry.register(aten.clamp.Tensor, Unary(clamp))
    registry.register(aten.clamp_min.default, Unary(clamp_min))
    registry.register(aten.clamp_min.Tensor, Unary(clamp_min))
    registry.register(aten.clamp_max.default, Unary(clamp_max))
    registry.register(aten.clamp_max.Tensor, Unary(clamp_max))
    registry.register(aten.hardsigmoid.default, Unary(HARDSIGMOID))
    registry.register(aten.abs.default, Unary(ABS))
    registry.register(aten.softshrink.default, Unary(softshrink))
    registry.register(aten.hardshrink.default, Unary(hardshrink))
    registry.register(aten.threshold.default, Unary(threshold))
