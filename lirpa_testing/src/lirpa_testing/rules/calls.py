"""Calls seen from outside: with other batches and element types, and in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lirpa_core.linear import Interval
from lirpa_core.rules import KEPT, Call, Const, Slot


def map_call(
    call: Call, function: Callable[[Tensor], Tensor], *, batch: int, dtype: torch.dtype | None = None
) -> Call:
    """The call with another batch size, and `function` applied to batched constants.

    Args:
        call: The call.
        function: Applied to constants that differ between examples.
        batch: Number of examples.
        dtype: Element type that all floating tensors are converted to; None leaves them as they are.
    """

    def convert(value: Any) -> Any:
        if isinstance(value, Const):
            tensor = function(value.value) if value.batched else value.value
            wanted = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
            return Const(tensor.to(wanted), value.batched)
        if isinstance(value, tuple):
            return tuple(convert(v) for v in value)
        return value

    def typed(given: torch.dtype) -> torch.dtype:
        return dtype if dtype is not None and given in KEPT else given  # casts keep their narrow type

    node = dataclasses.replace(call.node, dtype=typed(call.node.dtype))
    arguments = {name: convert(value) for name, value in call.arguments.items()}
    dtypes = tuple(typed(d) for d in call.dtypes)
    precision = None if call.precision is None else typed(call.precision)
    return dataclasses.replace(
        call, node=node, arguments=arguments, batch=batch, dtypes=dtypes, precision=precision
    )


def describe(call: Call) -> str:
    """Operator and arguments, tensors by shape."""

    def short(value: Any) -> str:
        if isinstance(value, Const):
            batched = " batched" if value.batched else ""
            return f"constant{batched} {list(value.value.shape)}"
        if isinstance(value, tuple):
            return "(" + ", ".join(short(v) for v in value) + ")"
        if isinstance(value, Slot):
            return f"x{value.index} {list(call.shapes[value.index])}"
        return repr(value)

    return f"{call.node.target}({', '.join(f'{k}={short(v)}' for k, v in call.arguments.items())})"


def show_box(x: Interval, pick: Any) -> str:
    """The ends of a box, all of them if they are few."""
    lower, upper = x.lower[pick], x.upper[pick]
    if lower.numel() > 16:
        return f"shape {list(lower.shape)} in [{lower.min().item():g}, {upper.max().item():g}]"
    pairs = zip(lower.flatten().tolist(), upper.flatten().tolist(), strict=True)
    return f"shape {list(lower.shape)}: " + ", ".join(f"[{a!r}, {b!r}]" for a, b in pairs)
