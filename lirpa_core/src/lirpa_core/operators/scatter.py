"""Rules of operators that write into a tensor at positions: scatter, index_put, slice_scatter."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lirpa_core.errors import InputError
from lirpa_core.operators.perturbed_index import written
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.index_winners import require_one_winner
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


def scatter_reduce(
    self: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """Sums, means, products, maxima and minima of what goes to each position, and of what is there.

    A maximum is one over all sources along the dimension, those that go elsewhere masked by −∞; a product likewise by one.

    Raises:
        InputError: For a reduction that PyTorch does not have.
    """
    if self.dim() == 0:
        whole = scatter_reduce(
            self.reshape(1), 0, index.reshape(-1), src.reshape(-1), reduce, include_self=include_self
        )
        return whole.reshape(())
    dim = dim % self.dim()
    n = self.shape[dim]
    for d, size in enumerate(index.shape):
        src = src.narrow(d, 0, size)
    if any(d != dim and index.shape[d] != self.shape[d] for d in range(self.dim())):
        raise InputError(
            f"scatter_reduce: the index of shape {list(index.shape)} does not cover the tensor of shape "
            f"{list(self.shape)} in every dimension but {dim}; give the part that is written, and put it in place by "
            "slicing."
        )
    place = torch.arange(n, device=index.device)
    goes = index.movedim(dim, -1).unsqueeze(-2) == place.unsqueeze(-1)  # [.., n, sources]
    given = src.movedim(dim, -1).unsqueeze(-2)  # [.., 1, sources]
    there = self.movedim(dim, -1)  # [.., n]
    some = goes.any(-1)
    if reduce in ("sum", "mean"):
        weight = goes.to(self.dtype)
        total = (given * weight).sum(-1)
        keep = torch.ones_like(weight.sum(-1)) if include_self else 1 - some.to(self.dtype)
        found = there * keep + total
        if reduce == "mean":
            found = found * torch.reciprocal(keep + weight.sum(-1))
        return found.movedim(-1, dim)
    if reduce == "prod":
        neutral = torch.where(goes, given, torch.ones_like(given))
        found = torch.prod(neutral, -1)
        found = found * there if include_self else torch.where(some, found, there)
        return found.movedim(-1, dim)
    if reduce not in ("amax", "amin"):
        raise InputError(f"scatter_reduce: reduce={reduce!r} is none of sum, mean, prod, amax, amin.")
    sign = 1 if reduce == "amax" else -1
    masked = torch.where(goes, sign * given, -math.inf)
    own = (sign * there).unsqueeze(-1)
    if not include_self:
        own = torch.where(some.unsqueeze(-1), -math.inf, own)
    return (sign * torch.cat([masked, own], -1).amax(-1)).movedim(-1, dim)


def register(registry: OperatorRegistry) -> None:
    """Register this file's rules and decompositions."""
    registry.decompose(aten.slice_scatter.default, slice_scatter)
    registry.decompose(aten.scatter_reduce.two, scatter_reduce)
    registry.decompose(aten.masked_scatter.default, masked_scatter)
    # Rare, so that what vmap derives is fast enough.
    source = Linear(("self", "src"), validate=require_one_winner)
    registry.register(aten.scatter.src, written(source, "src"))
    registry.register(aten.scatter.value, written(Linear(("self", "value")), "value"))
    registry.register(aten.scatter_add.default, Linear(("self", "src")))
    registry.register(aten.index_put.default, Linear(("self", "values"), validate=require_one_winner))
