"""Rules of borders: constant, reflected, replicated and circular ones."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lirpa_core.linear.coefficients import Coefficients, SelectedRows
from lirpa_core.linear.operators import LinearOp
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules import Call, Linear, StructuralOp
from lirpa_ops_vision.image_operators import ImageOperator

aten = torch.ops.aten


def padded_rank(call: Call) -> int:
    """The padded dimensions; the modes that look at the image want one more before them."""
    dims = len(call["pad"]) // 2
    return dims if call["mode"] == "constant" else dims + 1


@dataclass(frozen=True)
class PadNative(ImageOperator):
    """Native code of `pad` in every mode."""

    def part(self, call: Call, slot: int, x: Tensor, lead: int) -> Tensor:
        return super().part(without_value(call), slot, x, lead)

    def transpose(self, call: Call, slot: int, A: Tensor) -> Tensor:
        if call["mode"] == "constant":
            return torch.constant_pad_nd(A, [-n for n in call["pad"]])
        return super().transpose(call, slot, A)


def without_value(call: Call) -> Call:
    """The same border, filled with zeros."""
    return replace(call, arguments={**call.arguments, "value": None})


def _has_value(call: Call) -> bool:
    return call["mode"] == "constant" and bool(call["value"])


def pad_rows(op: LinearOp, A: SelectedRows) -> Coefficients | None:
    """Selected rows through a border: look up where each element came from; the constant gives nothing."""
    assert isinstance(op, StructuralOp)
    count = math.prod(op.in_shape)
    places = torch.arange(1, count + 1, dtype=torch.float64, device=A.index.device)
    source = op.apply(places.reshape(1, *op.in_shape)).flatten().long()[A.index]  # 0: the constant
    scale = A.values * (source > 0).to(A.values.dtype)
    return SelectedRows((source - 1).clamp(min=0), scale, op.in_shape)


PAD = Linear(("self",), offset=_has_value, native=PadNative(padded_rank))


def register(registry: OperatorRegistry) -> None:
    """Register this file's rules and kernels."""
    registry.register(aten.pad.default, PAD)
    registry.kernel(aten.pad.default, SelectedRows, pad_rows)
