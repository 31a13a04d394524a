"""Which calls may meet infinities: those behind a constant that holds one, such as a mask with −∞."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lirpa_core.devices import is_traced
from lirpa_core.rules.base import Rule
from lirpa_core.rules.call import Call, Const


def added_constants(calls: Mapping[str, Call], rules: Mapping[str, Rule]) -> dict[str, list[Any]]:
    """By call, the floating-point tensors among the constants that are not factors of products, and infinite numbers."""
    return {name: _constants(call, rules[name].additive) for name, call in calls.items()}


def with_infinities(calls: Mapping[str, Call], constants: Mapping[str, Sequence[Any]]) -> dict[str, Call]:
    """The calls, those marked (`Call.infinite`) that have an infinite constant or depend on a marked one.

    Waits for the device once; the sum of all constants decides, unless it is infinite. Factors of products are
    not looked at: what an infinite one makes is never determined. Not while `torch.compile` traces: infinities
    then become NaN, which is refused.

    Args:
        calls: The calls of a problem, each after those that it depends on.
        constants: The `added_constants` of each.
    """
    sums = [x.detach().sum() for given in constants.values() for x in given if isinstance(x, Tensor)]
    numbers = [x for given in constants.values() for x in given if not isinstance(x, Tensor)]
    if is_traced() or (not numbers and _all_finite(sums)):
        return dict(calls)
    marked: dict[str, Call] = {}
    for name, call in calls.items():
        behind = any(o in marked and marked[o].infinite for o in call.operands)
        if behind or any(not isinstance(x, Tensor) or bool(x.isinf().any()) for x in constants[name]):
            call = dataclasses.replace(call, infinite=True)
        marked[name] = call
    return marked


def _all_finite(sums: list[Tensor]) -> bool:
    if not sums:
        return True
    if len({x.dtype for x in sums}) > 1:
        return all(bool(x.isfinite()) for x in sums)
    return math.isfinite(torch.stack(sums).sum()) or bool(torch.stack(sums).isfinite().all())


def _constants(call: Call, names: tuple[str, ...] | None) -> list[Any]:
    """The floating-point tensors among the constants, and infinite numbers."""
    found: list[Any] = []
    for name, value in call.arguments.items():
        if names is not None and name not in names:
            continue
        for x in value if isinstance(value, tuple) else (value,):
            if isinstance(x, Const):
                if x.value.is_floating_point() and x.value.numel():
                    found.append(x.value)
            elif isinstance(x, float) and math.isinf(x):
                found.append(x)
    return found
