"""Rules of operators that write into a tensor at constant places: scatter, index_put, slice_scatter."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lirpa_core.aten.shape import embed
from lirpa_core.registry import OperatorRegistry
from lirpa_core.rules.call import Call, Const, Slot
from lirpa_core.rules.linear import Linear

aten = torch.ops.aten


class SliceScatter:
    """Native code of `self` with a slice of it replaced by `src`."""

    def evaluate(self, call: Call, operands: Sequence[Tensor], lead: int) -> Tensor:
        batches = [(c.value.shape[0],) for c in call.constants if c.batched]
        leading = torch.broadcast_shapes(*(x.shape[:lead] for x in operands), *batches)

        def whole(value: Slot | Const) -> Tensor:
            if isinstance(value, Slot):
                x, front = operands[value.index], lead
            else:
                x, front = value.value.to(call.dtype), int(value.batched)
            return x.expand(*leading, *x.shape[front:])

        return self._put(call, whole(call["self"]), whole(call["src"]), lead)

    def part(self, call: Call, slot: int, x: Tensor, lead: int) -> Tensor:
        if call.slot("self") == slot:
            return self._erased(call, x, lead)
        start, stop, step = self._places(call)
        if step == 1:
            return embed(x, self._dim(call), start, start + x.shape[self._dim(call) + lead], call.shape)
        return self._put(call, x.new_zeros(*x.shape[:lead], *call.shape), x, lead)

    def transpose(self, call: Call, slot: int, A: Tensor) -> Tensor:
        if call.slot("self") == slot:
            return self._erased(call, A, 2)
        start, stop, step = self._places(call)
        return A[(slice(None),) * (self._dim(call) + 2) + (slice(start, stop, step),)]

    def _put(self, call: Call, x: Tensor, src: Tensor, lead: int) -> Tensor:
        start, stop, step = self._places(call)
        return torch.slice_scatter(x, src, self._dim(call) + lead, start, stop, step)

    def _erased(self, call: Call, x: Tensor, lead: int) -> Tensor:
        start, stop, step = self._places(call)
        dim = self._dim(call)
        shape = (*x.shape[:lead], *call.shape[:dim], len(range(start, stop, step)), *call.shape[dim + 1 :])
        return self._put(call, x, x.new_zeros(()).expand(shape), lead)

    def _dim(self, call: Call) -> int:
        return int(call["dim"]) % len(call.shape)

    def _places(self, call: Call) -> tuple[int, int, int]:
        start, stop, step = slice(call["start"], call["end"], call["step"]).indices(call.shape[self._dim(call)])
        return start, max(start, stop), step


SLICE_SCATTER = Linear(("self", "src"), native=SliceScatter())


def register(registry: OperatorRegistry) -> None:
    """Register this file's rules."""
    registry.register(aten.slice_scatter.default, SLICE_SCATTER)
    # Rare, so that what vmap derives is fast enough. Where two sources go to one place, PyTorch itself
    # leaves open which of them wins.
    registry.register(aten.scatter.src, Linear(("self", "src")))
    registry.register(aten.scatter.value, Linear(("self", "value")))
    registry.register(aten.scatter_add.default, Linear(("self", "src")))
    registry.register(aten.index_put.default, Linear(("self", "values")))
