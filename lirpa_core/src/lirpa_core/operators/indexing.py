"""Rules of operators that gather elements at constant positions: gather, index, flip, repeat, pad.

Where positions are perturbed, see `perturbed_index`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lirpa_core.linear.coefficients import Coefficients, SelectedRows
from lirpa_core.linear.operators import LinearOp, align
from lirpa_core.operators.perturbed_index import indexed, looked_up, selected
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.call import Call, Const
from lirpa_core.rules.index_ranges import require_in_range
from lirpa_core.rules.linear import Linear, LinearNative, StructuralOp

aten = torch.ops.aten


def sources(call: Call) -> Tensor:
    """Where in the flattened operand each output element comes from: `[1 or B, *S]`.

    The operator itself says it, applied to the numbers of the elements.
    """
    (shape,) = call.shapes
    numbers = torch.arange(math.prod(shape), device=call.device).reshape(1, *shape)
    if call.has_batched_constants:
        return call.evaluate([numbers])
    # A constant boolean mask gives an index of unknown length, which vmap would refuse.
    return call.function([numbers[0]], [c.value for c in call.constants]).unsqueeze(0)


class Gather(LinearNative):
    """Native code of operators each of whose output elements is one element of the only operand."""

    def part(self, call: Call, slot: int, x: Tensor, lead: int) -> Tensor:
        positions = sources(call).flatten(1)  # [1 or B, m]
        flat = x.reshape(*x.shape[:lead], -1)  # [*L, B, n]
        if positions.shape[0] == 1:
            found = flat.index_select(-1, positions[0])
        else:
            flat = flat.expand(*flat.shape[: lead - 1], positions.shape[0], -1)
            found = flat.gather(-1, positions.expand(*flat.shape[:-1], -1))
        return found.reshape(*found.shape[:-1], *call.shape)

    def transpose(self, call: Call, slot: int, A: Tensor) -> Tensor:
        positions = sources(call).flatten(1)
        flat = A.flatten(2) if A.dim() > 2 else A.unsqueeze(2)
        batch = max(A.shape[1], positions.shape[0])
        zero = A.new_zeros(A.shape[0], batch, math.prod(call.shapes[slot]))
        if positions.shape[0] == 1:
            out = zero.index_add(2, positions[0], flat)
        else:
            flat = flat.expand(-1, batch, -1)
            out = zero.scatter_add(2, positions.expand(flat.shape), flat)
        return out.reshape(*out.shape[:2], *call.shapes[slot])


def gather_rows(op: LinearOp, A: SelectedRows) -> Coefficients:
    """Selected rows through a gather: the positions that it reads."""
    assert isinstance(op, StructuralOp)
    positions = sources(op.call).flatten(1)  # [1 or B, m]
    if positions.shape[0] == 1:
        index = positions[0][A.index]
    else:
        index = positions.T.gather(0, A.index.expand(-1, positions.shape[0]))
    return SelectedRows(index, A.values, op.in_shape)


class Flip(LinearNative):
    """Native code of the reversal of dimensions, which undoes itself."""

    def part(self, call: Call, slot: int, x: Tensor, lead: int) -> Tensor:
        rank = len(call.shape)
        return x.flip([d % rank + lead for d in call["dims"]]) if rank else x

    def transpose(self, call: Call, slot: int, A: Tensor) -> Tensor:
        return self.part(call, slot, A, 2)


class Repeat(LinearNative):
    """Native code of tiling."""

    def part(self, call: Call, slot: int, x: Tensor, lead: int) -> Tensor:
        return align(x, lead, len(call.shape)).repeat(*([1] * lead), *call["repeats"])

    def transpose(self, call: Call, slot: int, A: Tensor) -> Tensor:
        shape = (1,) * (len(call.shape) - len(call.shapes[slot])) + call.shapes[slot]
        tiles = [n for pair in zip(call["repeats"], shape, strict=True) for n in pair]
        out = A.reshape(*A.shape[:2], *tiles)
        counts = [2 + 2 * d for d in range(len(shape))]
        out = out.sum(counts) if counts else out
        return out.reshape(*A.shape[:2], *call.shapes[slot])


class Pad(LinearNative):
    """Native code of a border of constant width and value; a negative width crops."""

    def evaluate(self, call: Call, operands: Sequence[Tensor], lead: int) -> Tensor:
        return torch.constant_pad_nd(operands[0], call["pad"], call["value"])

    def part(self, call: Call, slot: int, x: Tensor, lead: int) -> Tensor:
        return torch.constant_pad_nd(x, call["pad"])

    def transpose(self, call: Call, slot: int, A: Tensor) -> Tensor:
        return torch.constant_pad_nd(A, [-n for n in call["pad"]])


def _borders(call: Call) -> bool:
    return bool(call["value"])


def take(self: Tensor, index: Tensor) -> Tensor:
    """Elements of the flattened tensor, by an operator that `vmap` knows."""
    return self.reshape(-1).index_select(0, index.reshape(-1)).reshape(index.shape)


def require_known_indices(call: Call) -> None:
    """Refuse indices outside of the dimension that is gathered along (not while `torch.compile` traces).

    Raises:
        InputError: Naming the node, the number and the range.
    """
    index = call["index"]
    if call.shapes[0] and isinstance(index, Const):
        dim = call["dim"] % len(call.shapes[0])
        message = (
            f"the index {{wrong}} is out of range: dimension {dim} has {{count}} elements, so indices run "
            "from 0 to {last}."
        )
        require_in_range(call, index.value, call.shapes[0][dim], message)


GATHER = Linear(("self",), native=Gather())
#: Along one dimension, by a tensor of numbers.
GATHER_ALONG = Linear(("self",), native=Gather(), validate=require_known_indices)
#: No element is read twice.
REARRANGE = Linear(("self",), selects=True, native=Gather())
FLIP = Linear(("self",), selects=True, native=Flip())
REPEAT = Linear(("self",), native=Repeat())
PAD = Linear(("self",), offset=_borders, selects=True, native=Pad())


def register(registry: OperatorRegistry) -> None:
    """Register this file's rules and kernels."""
    for op, rule in (
        (aten.index.Tensor, indexed(GATHER)),
        (aten.index_select.default, selected(GATHER_ALONG)),
        (aten.gather.default, looked_up(GATHER_ALONG)),
        (aten.unfold.default, GATHER),
        (aten.repeat.default, REPEAT),
        (aten.diagonal.default, REARRANGE),
        (aten.flip.default, FLIP),
    ):
        registry.register(op, rule)
        registry.kernel(op, SelectedRows, gather_rows)
    registry.register(aten.constant_pad_nd.default, PAD)
    registry.decompose(aten.take.default, take)
