"""Clamps with perturbed limits, and leaky ReLUs with a perturbed slope, as maxima, minima and products."""

from __future__ import annotations

import math

import torch

from lirpa_core.linear.interval import Interval
from lirpa_core.rules.base import Rule
from lirpa_core.rules.call import Call
from lirpa_core.rules.elements import Elements, of_elements


def _clamp(x: Elements, low: Elements | None, high: Elements | None) -> Elements:
    x = x if low is None else x.maximum(low)
    return x if high is None else x.minimum(high)


def _prelu(x: Elements, weight: Elements) -> Elements:
    """`max(x, 0) + weight · min(x, 0)`."""
    flat, zero = torch.zeros_like(x.low), torch.zeros_like(x.below)
    nothing = Elements(zero, flat, zero, flat, Interval(flat, flat))
    return x.maximum(nothing) + weight * x.minimum(nothing)


def _refuse_channels(call: Call) -> str | None:
    i = call.slot("weight")
    fits = i is None or math.prod(call.shapes[i]) == 1 or len(call.shape) == 2
    return (
        None
        if fits
        else "perturbed slopes of several channels have a rule for inputs of two dimensions alone"
    )


CLAMP: Rule = of_elements(("self", "min", "max"), _clamp)
CLAMP_MIN: Rule = of_elements(("self", "min"), lambda x, low: x.maximum(low))
CLAMP_MAX: Rule = of_elements(("self", "max"), lambda x, high: x.minimum(high))
#: The slope broadcasts against the operand.
PRELU_KERNEL: Rule = of_elements(("self", "weight"), _prelu)
#: One slope, or one for each entry of dimension 1.
PRELU: Rule = of_elements(("self", "weight"), _prelu, refuse=_refuse_channels)
