"""Rules of operators that rearrange elements: views, permutations, slices, concatenation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lirpa_core.graph import Shape
from lirpa_core.linear.coefficients import Coefficients, SelectedRows
from lirpa_core.linear.operators import LinearOp
from lirpa_core.linear.shapes import broadcast_shapes
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.call import Call, Const, Slot
from lirpa_core.rules.linear import Broadcast, Linear, LinearNative, StructuralOp

aten = torch.ops.aten


class Reshape(LinearNative):
    """Views: the elements keep their order."""

    def part(self, call: Call, slot: int, x: Tensor, lead: int) -> Tensor:
        return x.reshape(*x.shape[:lead], *call.shape)

    def transpose(self, call: Call, slot: int, A: Tensor) -> Tensor:
        return A.reshape(*A.shape[:2], *call.shapes[slot])


@dataclass(frozen=True)
class Permute(LinearNative):
    """Permutations of the dimensions.

    Attributes:
        order: From the call to the permutation of the dimensions of `S`.
    """

    order: Callable[[Call], Sequence[int]]

    def part(self, call: Call, slot: int, x: Tensor, lead: int) -> Tensor:
        return x.permute(*range(lead), *(d + lead for d in self.order(call)))

    def transpose(self, call: Call, slot: int, A: Tensor) -> Tensor:
        order = list(self.order(call))
        return A.permute(0, 1, *(order.index(d) + 2 for d in range(len(order))))

    def keeps_vectors(self, call: Call) -> bool:
        """Whether the last dimension stays the last."""
        order = self.order(call)
        return len(order) > 0 and order[-1] == len(order) - 1


@dataclass(frozen=True)
class Slice:
    """Elements `start, start + step, ..` before `stop` along one dimension; one element may lose it."""

    dim: int
    start: int
    stop: int
    step: int = 1
    drops: bool = False


@dataclass(frozen=True)
class BasicIndex(LinearNative):
    """What basic indexing with slices and numbers does: slice, select, split, unbind.

    Attributes:
        index: From the call to the slice of `S`.
    """

    index: Callable[[Call], Slice]

    def part(self, call: Call, slot: int, x: Tensor, lead: int) -> Tensor:
        at = self.index(call)
        which = at.start if at.drops else slice(at.start, at.stop, at.step)
        return x[(slice(None),) * (lead + at.dim) + (which,)]

    def transpose(self, call: Call, slot: int, A: Tensor) -> Tensor:
        at, shape = self.index(call), call.shapes[slot]
        if at.drops:
            A = A.unsqueeze(at.dim + 2)
        if at.step == 1:
            return embed(A, at.dim, at.start, at.start + A.shape[at.dim + 2], shape)
        zero = A.new_zeros(*A.shape[:2], *shape)
        return torch.slice_scatter(zero, A, at.dim + 2, at.start, at.stop, at.step)

    def keeps_vectors(self, call: Call) -> bool:
        """Whether the last dimension is not the one that is indexed."""
        return self.index(call).dim != len(call.shapes[0]) - 1


def embed(x: Tensor, dim: int, start: int, stop: int, shape: Shape) -> Tensor:
    """Put a block `[*L, *S']` into zeros `[*L, *shape]`, at `start` to `stop` of dimension `dim`."""
    after = len(shape) - 1 - dim
    return torch.nn.functional.pad(x, [0, 0] * after + [start, shape[dim] - stop])


class Cat(LinearNative):
    """Concatenation; each operand is a block of the output."""

    def evaluate(self, call: Call, operands: Sequence[Tensor], lead: int) -> Tensor:
        batches = [(c.value.shape[0],) for c in call.constants if c.batched]
        leading = broadcast_shapes(*(x.shape[:lead] for x in operands), *batches)
        blocks = []
        for value in call["tensors"]:
            if _skipped(call, value):
                continue
            if isinstance(value, Slot):
                x, front = operands[value.index], lead
            else:
                x, front = value.value.to(call.dtype), int(value.batched)
            blocks.append(x.expand(*leading, *x.shape[front:]))
        return torch.cat(blocks, self.dim(call) + lead)

    def part(self, call: Call, slot: int, x: Tensor, lead: int) -> Tensor:
        if _skipped(call, Slot(slot)):
            return x.new_zeros(*x.shape[:lead], *call.shape)
        return embed(x, self.dim(call), *self.block(call, slot), call.shape)

    def transpose(self, call: Call, slot: int, A: Tensor) -> Tensor:
        if _skipped(call, Slot(slot)):
            return A.new_zeros(*A.shape[:2], *call.shapes[slot])
        start, stop = self.block(call, slot)
        return A.narrow(self.dim(call) + 2, start, stop - start)

    def dim(self, call: Call) -> int:
        """The dimension that the blocks lie along."""
        return int(call["dim"]) % len(call.shape)

    def block(self, call: Call, slot: int) -> tuple[int, int]:
        """Where an operand's block starts and stops."""
        start = 0
        for value in call["tensors"]:
            size = 0 if _skipped(call, value) else _shape_of(call, value)[self.dim(call)]
            if isinstance(value, Slot) and value.index == slot:
                return start, start + size
            start += size
        raise AssertionError(f"slot {slot} is not an operand of {call}")


def _skipped(call: Call, value: Slot | Const) -> bool:
    """Whether `torch.cat` passes over an operand: empty vectors fit tensors of any rank."""
    return _shape_of(call, value) == (0,) and len(call.shape) != 1


def _shape_of(call: Call, value: Slot | Const) -> Shape:
    if isinstance(value, Slot):
        return call.shapes[value.index]
    return tuple(value.value.shape[1:] if value.batched else value.value.shape)


# ---------------------------------------------------------------------- from arguments to indices


def _permutation(call: Call) -> Sequence[int]:
    rank = len(call.shapes[0])
    return [d % rank for d in call["dims"]]


def _swap(call: Call) -> Sequence[int]:
    order = list(range(len(call.shapes[0])))
    if order:
        a, b = call["dim0"], call["dim1"]
        order[a], order[b] = order[b], order[a]
    return order


def _reverse(call: Call) -> Sequence[int]:
    return list(range(len(call.shapes[0])))[::-1]


def _dim(call: Call) -> int:
    return int(call["dim"]) % len(call.shapes[0])


def _block(call: Call, start: int, length: int) -> Slice:
    return Slice(_dim(call), start, start + length)


def _size(call: Call) -> int:
    return call.shapes[0][_dim(call)]


def _slice(call: Call) -> Slice:
    start, stop, step = slice(call["start"], call["end"], call["step"]).indices(_size(call))
    return Slice(_dim(call), start, max(start, stop), step)


def _element(call: Call, index: int) -> Slice:
    index = index % _size(call)
    return Slice(_dim(call), index, index + 1, drops=True)


def _select(call: Call) -> Slice:
    return _element(call, int(call["index"]))


def _unbind(call: Call) -> Slice:
    return _element(call, call.node.output or 0)


def _narrow(call: Call) -> Slice:
    start = int(call["start"])
    return _block(call, start + _size(call) if start < 0 else start, int(call["length"]))


def _split_size(call: Call) -> Slice:
    i, size = call.node.output or 0, int(call["split_size"])
    return _block(call, i * size, min(size, _size(call) - i * size))


def _split_sizes(call: Call) -> Slice:
    name = "split_sizes" if "split_sizes" in call.arguments else "split_size"
    sizes, i = call[name], call.node.output or 0
    return _block(call, sum(sizes[:i]), sizes[i])


def _chunk(call: Call) -> Slice:
    i, size = call.node.output or 0, math.ceil(_size(call) / call["chunks"])
    return _block(call, i * size, min(size, _size(call) - i * size))


# ---------------------------------------------------------------------- kernels for selected rows


def reshape_rows(op: LinearOp, A: SelectedRows) -> Coefficients:
    """Selected rows through a view: the same positions over another shape."""
    return A.reshape(op.in_shape)


def move_rows(op: LinearOp, A: SelectedRows) -> Coefficients:
    """Selected rows through a rearrangement: look up where each position came from."""
    assert isinstance(op, StructuralOp)
    positions = torch.arange(math.prod(op.in_shape), device=A.index.device).reshape(1, *op.in_shape)
    moved = op.apply(positions).flatten()
    return SelectedRows(moved[A.index], A.values, op.in_shape)


def cat_rows(op: LinearOp, A: SelectedRows) -> Coefficients | None:
    """Selected rows through a concatenation: rows of another operand's block read nothing."""
    assert isinstance(op, StructuralOp)
    if math.prod(op.in_shape) == 0:
        return None
    dim = CAT_NATIVE.dim(op.call)
    start, stop = CAT_NATIVE.block(op.call, op.slot)
    after = math.prod(op.call.shape[dim + 1 :])
    along = A.index // after % op.call.shape[dim]
    inside = (along >= start) & (along < stop)
    before = A.index // (after * op.call.shape[dim])
    index = (before * (stop - start) + along - start) * after + A.index % after
    zero = A.values.new_zeros(())
    return SelectedRows(torch.where(inside, index, 0), torch.where(inside, A.values, zero), op.in_shape)


def copy(self: Tensor, src: Tensor, non_blocking: bool = False) -> Tensor:
    """`self.copy_(src)` without the mutation: of `self` only shape and element type remain."""
    return src.expand(self.shape).to(self.dtype)


CAT_NATIVE = Cat()
RESHAPE = Linear(("self",), selects=True, native=Reshape())
EXPAND = Linear(("self",), native=Broadcast())
CAT = Linear(("tensors",), selects=True, native=CAT_NATIVE)

_RESHAPES = (
    aten.view.default, aten.reshape.default, aten._unsafe_view.default, aten.flatten.using_ints,
    aten.unflatten.int, aten.squeeze.default, aten.squeeze.dim, aten.squeeze.dims, aten.unsqueeze.default,
    aten._reshape_copy.default, aten.view_copy.default, aten.squeeze_copy.default, aten.squeeze_copy.dim,
    aten.squeeze_copy.dims, aten.unsqueeze_copy.default,
)  # fmt: skip

_MOVES: tuple[tuple[Any, Any], ...] = (
    (aten.permute.default, Permute(_permutation)),
    (aten.transpose.int, Permute(_swap)),
    (aten.t.default, Permute(_reverse)),
    (aten.numpy_T.default, Permute(_reverse)),
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
        registry.kernel(op, SelectedRows, reshape_rows)
    for op, native in _MOVES:
        registry.register(op, Linear(("self",), selects=True, native=native))
        registry.kernel(op, SelectedRows, move_rows)
    for op in (aten.expand.default, aten.expand_copy.default):
        registry.register(op, EXPAND)
        registry.kernel(op, SelectedRows, move_rows)
    registry.register(aten.cat.default, CAT)
    registry.kernel(aten.cat.default, SelectedRows, cat_rows)
    registry.decompose(aten.copy.default, copy)
