"""Rules of operators that rearrange elements: views, permutations, slices, concatenation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from lirpa_core.bounds.linear_map import LinearMap, RowsMap
from lirpa_core.bounds.linear_op import LinearOp, align, sum_to
from lirpa_core.registry import OperatorRegistry
from lirpa_core.rules.call import Call, Const, Slot
from lirpa_core.rules.linear import Linear, StructuralOp

aten = torch.ops.aten
Index: TypeAlias = tuple[slice | int, ...]


class Reshape:
    """Views: the elements keep their order."""

    def evaluate(self, call: Call, operands: Sequence[Tensor], lead: int) -> Tensor:
        return self.part(call, 0, operands[0], lead)

    def part(self, call: Call, slot: int, x: Tensor, lead: int) -> Tensor:
        return x.reshape(*x.shape[:lead], *call.shape)

    def transpose(self, call: Call, slot: int, A: Tensor) -> Tensor:
        return A.reshape(*A.shape[:2], *call.shapes[slot])


@dataclass(frozen=True)
class Permute:
    """Permutations of the dimensions.

    Attributes:
        order: From the call to the permutation of the dimensions of `S`.
    """

    order: Callable[[Call], Sequence[int]]

    def evaluate(self, call: Call, operands: Sequence[Tensor], lead: int) -> Tensor:
        return self.part(call, 0, operands[0], lead)

    def part(self, call: Call, slot: int, x: Tensor, lead: int) -> Tensor:
        return x.permute(*range(lead), *(d + lead for d in self.order(call)))

    def transpose(self, call: Call, slot: int, A: Tensor) -> Tensor:
        order = list(self.order(call))
        return A.permute(0, 1, *(order.index(d) + 2 for d in range(len(order))))


class Expand:
    """Broadcasting to a larger shape."""

    def evaluate(self, call: Call, operands: Sequence[Tensor], lead: int) -> Tensor:
        return self.part(call, 0, operands[0], lead)

    def part(self, call: Call, slot: int, x: Tensor, lead: int) -> Tensor:
        return align(x, lead, len(call.shape)).expand(*x.shape[:lead], *call.shape)

    def transpose(self, call: Call, slot: int, A: Tensor) -> Tensor:
        return sum_to(A, call.shapes[slot], lead=2)


@dataclass(frozen=True)
class BasicIndex:
    """What basic indexing with slices and numbers does: slice, select, split, unbind.

    Attributes:
        index: From the call to the index into `S`.
    """

    index: Callable[[Call], Index]

    def evaluate(self, call: Call, operands: Sequence[Tensor], lead: int) -> Tensor:
        return self.part(call, 0, operands[0], lead)

    def part(self, call: Call, slot: int, x: Tensor, lead: int) -> Tensor:
        return x[(slice(None),) * lead + self.index(call)]

    def transpose(self, call: Call, slot: int, A: Tensor) -> Tensor:
        out = A.new_zeros(*A.shape[:2], *call.shapes[slot])
        out[(slice(None),) * 2 + self.index(call)] = A
        return out


class Cat:
    """Concatenation; each operand is a block of the output."""

    def evaluate(self, call: Call, operands: Sequence[Tensor], lead: int) -> Tensor:
        leading = torch.broadcast_shapes(*(x.shape[:lead] for x in operands), *_batches(call))
        blocks = []
        for value in call["tensors"]:
            if isinstance(value, Slot):
                x = operands[value.index]
            else:
                x = value.value if value.batched else value.value.unsqueeze(0)
                x = align(x, 1, x.dim() - 1).to(call.dtype)
                x = x.reshape(*([1] * (lead - 1)), *x.shape)
            blocks.append(x.expand(*leading, *x.shape[lead:]))
        return torch.cat(blocks, self._dim(call) + lead)

    def part(self, call: Call, slot: int, x: Tensor, lead: int) -> Tensor:
        dim = self._dim(call)
        start, stop = self._block(call, slot)
        after = len(call.shape) - 1 - dim
        return torch.nn.functional.pad(x, [0, 0] * after + [start, call.shape[dim] - stop])

    def transpose(self, call: Call, slot: int, A: Tensor) -> Tensor:
        start, stop = self._block(call, slot)
        return A.narrow(self._dim(call) + 2, start, stop - start)

    def _dim(self, call: Call) -> int:
        return int(call["dim"]) % len(call.shape)

    def _block(self, call: Call, slot: int) -> tuple[int, int]:
        start = 0
        for value in call["tensors"]:
            shape = _shape_of(call, value)
            # Legacy behaviour of torch.cat: one-dimensional empty tensors are skipped.
            size = 0 if shape == (0,) else shape[self._dim(call)]
            if isinstance(value, Slot) and value.index == slot:
                return start, start + size
            start += size
        raise AssertionError(f"slot {slot} is not an operand of {call}")


def _batches(call: Call) -> list[tuple[int, ...]]:
    return [(c.value.shape[0],) for c in call.constants if c.batched]


def _shape_of(call: Call, value: Any) -> tuple[int, ...]:
    if isinstance(value, Slot):
        return call.shapes[value.index]
    assert isinstance(value, Const)
    return tuple(value.value.shape[1:] if value.batched else value.value.shape)


# ---------------------------------------------------------------------- from arguments to indices


def _permutation(call: Call) -> Sequence[int]:
    rank = len(call.shapes[0])
    return [d % rank for d in call["dims"]]


def _swap(call: Call) -> Sequence[int]:
    order = list(range(len(call.shapes[0])))
    a, b = call["dim0"], call["dim1"]
    order[a], order[b] = order[b], order[a]
    return order


def _t(call: Call) -> Sequence[int]:
    return list(range(len(call.shapes[0])))[::-1]


def _at(call: Call, dim: int, index: slice | int) -> Index:
    return (slice(None),) * (dim % len(call.shapes[0])) + (index,)


def _slice(call: Call) -> Index:
    return _at(call, call["dim"], slice(call["start"], call["end"], call["step"]))


def _select(call: Call) -> Index:
    return _at(call, call["dim"], int(call["index"]))


def _narrow(call: Call) -> Index:
    start = int(call["start"])
    size = call.shapes[0][call["dim"]]
    start = start % size if start < 0 else start
    return _at(call, call["dim"], slice(start, start + call["length"]))


def _split_size(call: Call) -> Index:
    size, i = call["split_size"], call.node.output or 0
    return _at(call, call["dim"], slice(i * size, (i + 1) * size))


def _split_sizes(call: Call) -> Index:
    name = "split_sizes" if "split_sizes" in call.arguments else "split_size"
    sizes, i = call[name], call.node.output or 0
    start = sum(sizes[:i])
    return _at(call, call["dim"], slice(start, start + sizes[i]))


def _chunk(call: Call) -> Index:
    size = math.ceil(call.shapes[0][call["dim"]] / call["chunks"])
    i = call.node.output or 0
    return _at(call, call["dim"], slice(i * size, (i + 1) * size))


def _unbind(call: Call) -> Index:
    return _at(call, call["dim"], call.node.output or 0)


# ---------------------------------------------------------------------- kernels for selected rows


def reshape_rows(op: LinearOp, A: RowsMap) -> LinearMap:
    """Selected rows through a view: the same positions over another shape."""
    return A.reshape(op.in_shape)


def move_rows(op: LinearOp, A: RowsMap) -> LinearMap | None:
    """Selected rows through a rearrangement: look up where each position came from."""
    assert isinstance(op, StructuralOp)
    positions = torch.arange(math.prod(op.in_shape), device=A.index.device).reshape(1, *op.in_shape)
    moved = op.apply(positions).flatten()
    return RowsMap(moved[A.index], A.scale_, op.in_shape)


RESHAPE = Linear(("self",), selects=True, native=Reshape())
EXPAND = Linear(("self",), native=Expand())
CAT = Linear(("tensors",), selects=True, native=Cat())

_RESHAPES = (
    aten.view.default, aten.reshape.default, aten._unsafe_view.default, aten.flatten.using_ints,
    aten.unflatten.int, aten.squeeze.default, aten.squeeze.dim, aten.squeeze.dims, aten.unsqueeze.default,
    aten._reshape_copy.default, aten.view_copy.default,
)  # fmt: skip

_MOVES: tuple[tuple[Any, Any], ...] = (
    (aten.permute.default, Permute(_permutation)),
    (aten.transpose.int, Permute(_swap)),
    (aten.t.default, Permute(_t)),
    (aten.numpy_T.default, Permute(_t)),
    (aten.slice.Tensor, BasicIndex(_slice)),
    (aten.select.int, BasicIndex(_select)),
    (aten.narrow.default, BasicIndex(_narrow)),
    (aten.split.Tensor, BasicIndex(_split_size)),
    (aten.split.sizes, BasicIndex(_split_sizes)),
    (aten.split_with_sizes.default, BasicIndex(_split_sizes)),
    (aten.chunk.default, BasicIndex(_chunk)),
    (aten.unbind.int, BasicIndex(_unbind)),
)


def register(registry: OperatorRegistry) -> None:
    """Register this file's rules and kernels."""
    for op in _RESHAPES:
        registry.register(op, RESHAPE)
        registry.kernel(op, RowsMap, reshape_rows)
    for op, native in _MOVES:
        registry.register(op, Linear(("self",), selects=True, native=native))
        registry.kernel(op, RowsMap, move_rows)
    registry.register(aten.expand.default, EXPAND)
    registry.kernel(aten.expand.default, RowsMap, move_rows)
    registry.register(aten.cat.default, CAT)
