"""Ways of writing what this package has operators for: vectors of length one and what is divided by a deviation plus a number."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lirpa_core.plugins import PatternRegistry
from lirpa_ops_nlp.normalization import unit_length

# ---------------------------------------------------------------------- vectors of length one


def by_norm(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    return x / torch.linalg.vector_norm(x, dim=dims, keepdim=True)


def by_norm_or_eps(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    return x / torch.linalg.vector_norm(x, dim=dims, keepdim=True).clamp_min(eps)


def by_norm_and_eps(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    return x / (torch.linalg.vector_norm(x, dim=dims, keepdim=True) + eps)


def of_length_one(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    return unit_length(x, dims, 0.0)


def of_length_one_or_less(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    return unit_length(x, dims, eps)


def of_length_below_one(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    return unit_length(x, dims, eps, added=True)


# ---------------------------------------------------------------------- standardised, with ε outside of the root


def by_deviation_and_eps(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    return (x - x.mean(dims, keepdim=True)) / (x.std(dims, correction=0, keepdim=True) + eps)


def standardized(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    root = math.sqrt(math.prod([x.shape[d] for d in dims]))
    return unit_length(x - x.mean(dims, keepdim=True), dims, eps * root, added=True, centered=True) * root


def by_root_mean_square_and_eps(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    return x / (torch.sqrt(torch.square(x).mean(dims, keepdim=True)) + eps)


def scaled(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    root = math.sqrt(math.prod([x.shape[d] for d in dims]))
    return unit_length(x, dims, eps * root, added=True) * root


# ---------------------------------------------------------------------- cosines


def cosine_by_norms(x: Tensor, y: Tensor, dims: tuple[int, ...]) -> Tensor:
    lengths = torch.linalg.vector_norm(x, dim=dims, keepdim=True) * torch.linalg.vector_norm(
        y, dim=dims, keepdim=True
    )
    return (x * y).sum(dims, keepdim=True) / lengths


def cosine_by_norms_or_eps(x: Tensor, y: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    first = torch.linalg.vector_norm(x, dim=dims, keepdim=True).clamp_min(eps)
    second = torch.linalg.vector_norm(y, dim=dims, keepdim=True).clamp_min(eps)
    return (x * y).sum(dims, keepdim=True) / (first * second)


def cosine(x: Tensor, y: Tensor, dims: tuple[int, ...]) -> Tensor:
    return (unit_length(x, dims, 0.0) * unit_length(y, dims, 0.0)).sum(dims, keepdim=True)


def cosine_or_less(x: Tensor, y: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    return (unit_length(x, dims, eps) * unit_length(y, dims, eps)).sum(dims, keepdim=True)


def positive(x: Tensor, dims: tuple[int, ...], eps: float) -> bool:
    """Whether nothing is divided by zero."""
    return eps > 0


def both_positive(x: Tensor, y: Tensor, dims: tuple[int, ...], eps: float) -> bool:
    """Whether nothing is divided by zero."""
    return eps > 0


def register(registry: PatternRegistry) -> None:
    """Register this file's patterns."""
    registry.register("length one: by norm", by_norm, of_length_one)
    registry.register("cosine: by norms", cosine_by_norms, cosine)
    registry.register("cosine: by norms or ε", cosine_by_norms_or_eps, cosine_or_less, when=both_positive)
    for name, written, becomes in (
        ("length one: by norm or ε", by_norm_or_eps, of_length_one_or_less),
        ("length one: by norm and ε", by_norm_and_eps, of_length_below_one),
        ("layer norm: by deviation and ε", by_deviation_and_eps, standardized),
        ("RMS norm: by root mean square and ε", by_root_mean_square_and_eps, scaled),
    ):
        registry.register(name, written, becomes, when=positive)
