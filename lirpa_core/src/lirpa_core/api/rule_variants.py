"""Rules and kernels that options exchange for others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from lirpa_core.api.options import BoundOptions, ReluSlope
from lirpa_core.plugins import Registry
from lirpa_core.rules.unary import Unary

aten = torch.ops.aten

#: Slope of the lower line where an activation is not straight, from the slope of its upper line.
_LOWER_SLOPES: Mapping[ReluSlope, Callable[[Tensor], Tensor]] = {
    "same-slope": lambda upper: upper,
    "zero-lb": torch.zeros_like,
    "one-lb": torch.ones_like,
    "reversed-adaptive": lambda upper: (upper <= 0.5).to(upper.dtype),
}


def with_options(registry: Registry, options: BoundOptions) -> Registry:
    """The registry with the rules and the forms of coefficients that the options ask for."""
    if options.conv_mode == "matrix":
        registry = registry.without_form("patches")
    for op, choice in ((aten.relu.default, options.relu), (aten.hardtanh.default, options.hardtanh)):
        rule = registry.rule_for(op)
        if choice != "adaptive" and isinstance(rule, Unary):
            registry = registry.with_rules({op: replace(rule, lower_slope=_LOWER_SLOPES[choice])})
    return registry
