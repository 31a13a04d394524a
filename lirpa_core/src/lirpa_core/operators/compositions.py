"""Rarer functions as compositions of those that have rules: each mentions what may be perturbed as seldom as it can."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lirpa_core.operators.order import quantile
from lirpa_core.operators.scatter import scatter_reduce
from lirpa_core.plugins import OperatorRegistry

aten = torch.ops.aten

#: Up to here `sinc` is a sum of cosines, and of so many.
_NEAR, _COSINES = 4, 24


def sinc(self: Tensor) -> Tensor:
    """`sin(πx) / (πx)`, and 1 at zero.

    It is the mean of `cos(πxt)` over `t` from −1 to 1, which a rule of 48 points (Fejér 1933, Waldvogel 2006, "Fast construction of the
    Fejér and Clenshaw–Curtis quadrature rules") gives up to 10⁻²² for `|x| ≤ 4`; beyond, it is the quotient, which is zero at 4.
    """
    n = 2 * _COSINES
    angle = (torch.arange(_COSINES, dtype=torch.float64, device=self.device) + 0.5) * (math.pi / n)
    k = torch.arange(1, _COSINES + 1, dtype=torch.float64, device=self.device)
    waves = torch.cos(2 * angle.unsqueeze(1) * k) / (4 * k * k - 1)  # [points, k]
    weight = (2 / n) * (1 - 2 * waves.sum(1))
    rate = math.pi * torch.cos(angle)
    rate = rate.to(self.dtype)
    near = torch.clamp(self, -_NEAR, _NEAR).unsqueeze(-1) * rate
    inside = (torch.cos(near) - torch.cos(_NEAR * rate)) @ weight.to(self.dtype)  # exactly zero at the end
    far = math.pi * torch.clamp(torch.abs(self), min=_NEAR)
    return inside + torch.sin(far) * torch.reciprocal(far)


def ndtri(self: Tensor) -> Tensor:
    """The quantile of the standard normal distribution."""
    return math.sqrt(2) * torch.erfinv(2 * self - 1)


def ldexp(self: Tensor, other: Tensor) -> Tensor:
    """`self · 2^other`."""
    return self * torch.exp2(other.to(self.dtype))


def renorm(self: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """Slices along a dimension, those of a larger norm scaled down to it.

    Where a norm is larger, it is the larger one of both: as a maximum it stays away from zero.
    """
    dims = [d for d in range(self.dim()) if d != dim % self.dim()]
    norm = torch.linalg.vector_norm(self, p, dims, keepdim=True)
    scale = maxnorm * torch.reciprocal(torch.clamp(norm, min=maxnorm) + 1e-7)
    return self * torch.where(norm > maxnorm, scale, torch.ones_like(scale))


def index_reduce(
    self: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """`scatter_reduce` with the same index for all lines."""
    dim = dim % self.dim()
    shape = [1] * self.dim()
    shape[dim] = -1
    everywhere = index.reshape(shape).expand(source.shape)
    return scatter_reduce(self, dim, everywhere, source, reduce, include_self=include_self)


def diagonal_scatter(self: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """`self` with a diagonal replaced."""
    numbers = torch.arange(math.prod(self.shape), device=self.device).reshape(self.shape)
    where = torch.diagonal(numbers, offset, dim1, dim2).reshape(-1)
    return self.reshape(-1).index_put((where,), src.reshape(-1)).reshape(self.shape)


def copysign(self: Tensor, other: Tensor | float) -> Tensor:
    """The size of one number with the sign of another."""
    size = torch.abs(self)
    if not isinstance(other, Tensor):
        return size if math.copysign(1.0, other) > 0 else -size
    return torch.where(torch.signbit(other), -size, size)


def register(registry: OperatorRegistry) -> None:
    """Register this file's decompositions."""
    registry.decompose(aten.sinc.default, sinc)
    registry.decompose(aten.special_ndtri.default, ndtri)
    registry.decompose(aten.ldexp.Tensor, ldexp)
    registry.decompose(aten.renorm.default, renorm)
    registry.decompose(aten.index_reduce.default, index_reduce)
    registry.decompose(aten.diagonal_scatter.default, diagonal_scatter)
    registry.decompose(aten.copysign.Tensor, copysign)
    registry.decompose(aten.copysign.Scalar, copysign)
    for op in (aten.nanquantile.default, aten.nanquantile.scalar):
        registry.decompose(op, quantile)  # no number in a finite box is NaN
