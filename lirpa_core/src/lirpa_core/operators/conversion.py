"""Rules of conversions between element types; what changes device or layout alone is one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lirpa_core.linear.coefficients import Coefficients, SelectedRows
from lirpa_core.linear.operators import LinearOp
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.call import Call
from lirpa_core.rules.linear import Linear, LinearNative, StructuralOp

aten = torch.ops.aten


class Convert(LinearNative):
    """Native code of a conversion to a floating type: the identity, up to rounding.

    Bounds of a mask are floating already, so that a conversion of a mask changes nothing either.
    """

    def evaluate(self, call: Call, operands: Sequence[Tensor], lead: int) -> Tensor:
        return operands[0].to(call.dtype)

    def part(self, call: Call, slot: int, x: Tensor, lead: int) -> Tensor:
        return x.to(call.dtype)

    def transpose(self, call: Call, slot: int, A: Tensor) -> Tensor:
        return A.to(call.slot_dtype(slot))


def convert_rows(op: LinearOp, A: SelectedRows) -> Coefficients:
    """Selected rows through a conversion."""
    assert isinstance(op, StructuralOp)
    return SelectedRows(A.index, A.values.to(op.call.slot_dtype(op.slot)), op.in_shape)


def _refuse_integers(call: Call) -> str | None:
    if call.dtype.is_floating_point:
        return None
    return f"a conversion of perturbed values to {call.dtype} has jumps; write it as floor, round, or a comparison"


CONVERT = Linear(("self",), selects=True, native=Convert(), refuse=_refuse_integers)


# ---------------------------------------------------------------------- constants that look perturbed


def _number_like(number: Any) -> Any:
    def like(
        self: Tensor,
        *,
        dtype: Any = None,
        layout: Any = None,
        device: Any = None,
        pin_memory: Any = None,
        memory_format: Any = None,
    ) -> Tensor:
        return _full(self, self.shape, number, dtype, device)

    return like


def full_like(
    self: Tensor,
    fill_value: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: Any = None,
    memory_format: Any = None,
) -> Tensor:
    """A constant: of `self` only shape, element type and device enter."""
    return _full(self, self.shape, fill_value, dtype, device)


def _new_number(number: Any) -> Any:
    def new(
        self: Tensor,
        size: Any,
        *,
        dtype: Any = None,
        layout: Any = None,
        device: Any = None,
        pin_memory: Any = None,
    ) -> Tensor:
        return _full(self, size, number, dtype, device)

    return new


def new_full(
    self: Tensor,
    size: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: Any = None,
) -> Tensor:
    """A constant: of `self` only element type and device enter."""
    return _full(self, size, fill_value, dtype, device)


def _full(like: Tensor, size: Any, number: Any, dtype: Any, device: Any) -> Tensor:
    return torch.full(size, number, dtype=dtype or like.dtype, device=device or like.device)


def register(registry: OperatorRegistry) -> None:
    """Register this file's rules, kernels and decompositions."""
    registry.register(aten._to_copy.default, CONVERT)
    registry.kernel(aten._to_copy.default, SelectedRows, convert_rows)
    for op, function in (
        (aten.zeros_like.default, _number_like(0)),
        (aten.ones_like.default, _number_like(1)),
        (aten.full_like.default, full_like),
        (aten.new_zeros.default, _new_number(0)),
        (aten.new_ones.default, _new_number(1)),
        (aten.new_full.default, new_full),
    ):
        registry.decompose(op, function)
