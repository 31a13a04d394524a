"""Rules of operators that write into a tensor at constant positions: scatter, index_put, slice_scatter."""

from __future__ import annotations

import torch
from torch import Tensor

from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.linear import Linear

aten = torch.ops.aten


def slice_scatter(
    self: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """`self` with a slice of it replaced by `src`, put together from the pieces.

    PyTorch's own operator does not accept all slices under `vmap`.
    """
    dim = dim % self.dim()
    size = self.shape[dim]
    positions = range(*slice(start, end, step).indices(size))
    src = src.to(self.dtype)
    if step == 1:
        stop = positions.start + len(positions)
        pieces = [self.narrow(dim, 0, positions.start), src, self.narrow(dim, stop, size - stop)]
        return torch.cat([p for p in pieces if p.shape[dim]], dim)
    position = torch.arange(size, device=self.device)
    beyond = position - positions.start
    replaced = (beyond >= 0) & (beyond % step == 0) & (position < positions.stop)
    order = torch.where(replaced, size + beyond // step, position)
    return torch.cat([self, src], dim).index_select(dim, order)


def masked_scatter(self: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """`self` with the elements that a mask picks replaced by the first elements of `source`, in order."""
    mask = mask.expand(self.shape)
    position = mask.reshape(-1).to(torch.int64).cumsum(0) - 1
    chosen = source.reshape(-1).index_select(0, position.clamp(min=0)).reshape(self.shape)
    return torch.where(mask, chosen, self)


def register(registry: OperatorRegistry) -> None:
    """Register this file's rules and decompositions."""
    registry.decompose(aten.slice_scatter.default, slice_scatter)
    registry.decompose(aten.masked_scatter.default, masked_scatter)
    # Rare, so that what vmap derives is fast enough. Where two sources go to one position, PyTorch itself
    # leaves open which of them wins.
    registry.register(aten.scatter.src, Linear(("self", "src")))
    registry.register(aten.scatter.value, Linear(("self", "value")))
    registry.register(aten.scatter_add.default, Linear(("self", "src")))
    registry.register(aten.index_put.default, Linear(("self", "values")))
