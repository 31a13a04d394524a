"""Layer norm and RMS norm over any dimensions; group and instance norm are layer norms of another shape."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lirpa_core.operators.decompositions import over_last
from lirpa_core.plugins import PatternRegistry


def _layer_norm(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    return over_last(x, dims, lambda y: F.layer_norm(y, y.shape[-len(dims) :], eps=eps))


def _rms_norm(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    return over_last(x, dims, lambda y: F.rms_norm(y, y.shape[-len(dims) :], eps=eps))


def by_variance(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    return (x - x.mean(dims, keepdim=True)) / torch.sqrt(x.var(dims, correction=0, keepdim=True) + eps)


def by_mean_of_squares(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    mean = x.mean(dims, keepdim=True)
    variance = torch.square(x).mean(dims, keepdim=True) - torch.square(mean)
    return (x - mean) / torch.sqrt(variance + eps)


def by_deviation(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    return (x - x.mean(dims, keepdim=True)) / x.std(dims, correction=0, keepdim=True)


def _standardized(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    return _layer_norm(x, dims, 0.0)


def by_root_mean_square(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    return x / torch.sqrt(torch.square(x).mean(dims, keepdim=True) + eps)


def by_root_of_sum(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    return x / torch.sqrt(torch.square(x).sum(dims, keepdim=True) + eps)


def _unit_length(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    n = math.prod([x.shape[d] for d in dims])
    return _rms_norm(x, dims, eps / n) / math.sqrt(n)


def positive(x: Tensor, dims: tuple[int, ...], eps: float) -> bool:
    """Whether the root is of a positive number."""
    return eps > 0


def register(registry: PatternRegistry) -> None:
    """Register this file's patterns."""
    for name, written, becomes in (
        ("layer norm: by mean and variance", by_variance, _layer_norm),
        ("layer norm: by mean of squares", by_mean_of_squares, _layer_norm),
        ("RMS norm: by mean of squares", by_root_mean_square, _rms_norm),
        ("RMS norm: by sum of squares", by_root_of_sum, _unit_length),
    ):
        registry.register(name, written, becomes, when=positive)
    registry.register("layer norm: by mean and deviation", by_deviation, _standardized)
