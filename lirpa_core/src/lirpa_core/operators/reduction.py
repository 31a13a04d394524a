"""Rules of sums, means and cumulative sums; variances, norms and products by other operators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lirpa_core.graph import Shape
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.call import Call
from lirpa_core.rules.linear import Linear, LinearNative

aten = torch.ops.aten


def reduced_dims(call: Call) -> tuple[int, ...]:
    """Dimensions of `S` that a reduction takes together; none or an empty list given means all."""
    rank = len(call.shapes[0])
    given = call.arguments.get("dim")
    if given is None or given == ():
        return tuple(range(rank))
    dims = given if isinstance(given, tuple) else (given,)
    return tuple(sorted(d % rank for d in dims)) if rank else ()


def kept_shape(shape: Shape, dims: Sequence[int]) -> Shape:
    """The shape with the given dimensions reduced to one element but kept."""
    return tuple(1 if d in dims else n for d, n in enumerate(shape))


@dataclass(frozen=True)
class Sum(LinearNative):
    """Native code of sums and means.

    Attributes:
        mean: Whether to divide by the number of terms.
    """

    mean: bool = False

    def part(self, call: Call, slot: int, x: Tensor, lead: int) -> Tensor:
        dims = [d + lead for d in reduced_dims(call)]
        if not dims:  # PyTorch takes no dimensions to mean all of them
            return x
        out = x.mean(dims) if self.mean else x.sum(dims)
        return out.reshape(*out.shape[:lead], *call.shape)

    def transpose(self, call: Call, slot: int, A: Tensor) -> Tensor:
        shape, dims = call.shapes[slot], reduced_dims(call)
        A = A.reshape(*A.shape[:2], *kept_shape(shape, dims))
        if self.mean:
            A = A / math.prod([shape[d] for d in dims])  # while it is still small; Dynamo wants a list
        return A.expand(*A.shape[:2], *shape)


class CumulativeSum(LinearNative):
    """Native code of the sums of everything up to each element along one dimension."""

    def part(self, call: Call, slot: int, x: Tensor, lead: int) -> Tensor:
        return x if not call.shape else x.cumsum(call["dim"] % len(call.shape) + lead)

    def transpose(self, call: Call, slot: int, A: Tensor) -> Tensor:
        if not call.shape:
            return A
        dim = call["dim"] % len(call.shape) + 2
        return A.flip(dim).cumsum(dim).flip(dim)


# ---------------------------------------------------------------------- by other operators


def _squared_deviations(x: Tensor, dim: Any, correction: Any, keepdim: bool) -> tuple[Tensor, Tensor]:
    """Variance and mean over the given dimensions."""
    rank = x.dim()
    given = range(rank) if dim is None or len(dim) == 0 else dim
    dims = [d % rank for d in given] if rank else []
    count = math.prod(x.shape[d] for d in dims)
    mean = x.mean(dims, keepdim=True) if dims else x
    total = torch.square(x - mean)
    total = total.sum(dims, keepdim=True) if dims else total
    left = max(0.0, count - (1 if correction is None else correction))
    variance = total * (1 / left if left else math.nan)
    if not keepdim:
        kept = [n for d, n in enumerate(x.shape) if d not in dims]
        return variance.reshape(kept), mean.reshape(kept)
    return variance, mean


def variance(self: Tensor, dim: Any = None, *, correction: Any = None, keepdim: bool = False) -> Tensor:
    """`Σ(x − mean)² / (n − correction)`."""
    return _squared_deviations(self, dim, correction, keepdim)[0]


def variance_and_mean(
    self: Tensor, dim: Any = None, *, correction: Any = None, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    """Variance and mean."""
    return _squared_deviations(self, dim, correction, keepdim)


def deviation(self: Tensor, dim: Any = None, *, correction: Any = None, keepdim: bool = False) -> Tensor:
    """Standard deviation."""
    return torch.sqrt(variance(self, dim, correction=correction, keepdim=keepdim))


def deviation_and_mean(
    self: Tensor, dim: Any = None, *, correction: Any = None, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    """Standard deviation and mean."""
    squared, mean = _squared_deviations(self, dim, correction, keepdim)
    return torch.sqrt(squared), mean


def vector_norm(
    self: Tensor,
    ord: Any = 2,  # noqa: A002
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
) -> Tensor:
    """`‖x‖_p` from absolute values, powers and a sum; the largest or smallest element for ±∞."""
    x = self if dtype is None else self.to(dtype)
    dims = list(range(x.dim())) if dim is None or len(dim) == 0 else list(dim)
    p = float(ord)
    if not dims or math.prod(x.shape[d] for d in dims) == 1:
        alone = torch.abs(x) if p != 0 else torch.ne(x, 0).to(x.dtype)
        return torch.sum(alone, dims, keepdim=keepdim) if dims else alone
    if math.isinf(p):
        size = torch.abs(x)
        return torch.amax(size, dims, keepdim) if p > 0 else torch.amin(size, dims, keepdim)
    if p == 0:
        return torch.sum(torch.ne(x, 0).to(x.dtype), dims, keepdim=keepdim)
    if p == 1:
        return torch.sum(torch.abs(x), dims, keepdim=keepdim)
    if p == 2:
        return torch.sqrt(torch.sum(torch.square(x), dims, keepdim=keepdim))
    powers = torch.abs(x) if p % 2 else x  # an even power needs no absolute value
    return torch.pow(torch.sum(torch.pow(powers, p), dims, keepdim=keepdim), 1 / p)


def product(self: Tensor, dim: int, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The product along one dimension, as a tree of products of two."""
    x = self if dtype is None else self.to(dtype)
    if x.dim() == 0:
        return x
    dim = dim % x.dim()
    if x.shape[dim] == 0:  # a product of nothing is one, as a sum of nothing is zero
        return torch.exp(x.sum(dim, keepdim))
    while x.shape[dim] > 1:
        n = x.shape[dim]
        halves = x.narrow(dim, 0, n // 2) * x.narrow(dim, n // 2, n // 2)
        x = torch.cat([halves, x.narrow(dim, n - 1, 1)], dim) if n % 2 else halves
    return x if keepdim else x.squeeze(dim)


def whole_product(self: Tensor, *, dtype: Any = None) -> Tensor:
    """The product of all elements."""
    return product(self.reshape(-1), 0, dtype=dtype)


def distances(x1: Tensor, x2: Tensor, p: float, compute_mode: Any = None) -> Tensor:
    """Norms of all differences between rows."""
    return vector_norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, [-1])


SUM = Linear(("self",), native=Sum())
MEAN = Linear(("self",), native=Sum(mean=True))
CUMSUM = Linear(("self",), native=CumulativeSum())


def register(registry: OperatorRegistry) -> None:
    """Register this file's rules and decompositions."""
    registry.register(aten.sum.default, SUM)
    registry.register(aten.sum.dim_IntList, SUM)
    registry.register(aten.mean.default, MEAN)
    registry.register(aten.mean.dim, MEAN)
    registry.register(aten.cumsum.default, CUMSUM)
    for op, function in (
        (aten.var.correction, variance),
        (aten.var_mean.correction, variance_and_mean),
        (aten.std.correction, deviation),
        (aten.std_mean.correction, deviation_and_mean),
        (aten.linalg_vector_norm.default, vector_norm),
        (aten.prod.dim_int, product),
        (aten.prod.default, whole_product),
        (aten._cdist_forward.default, distances),
    ):
        registry.decompose(op, function)
