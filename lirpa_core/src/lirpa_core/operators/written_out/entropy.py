"""Entropies: `p · log p` of softmax does not show as such, because its logarithm is log-softmax, nor does xlogy of what is computed twice."""

from __future__ import annotations

import torch
from torch import Tensor

from lirpa_core.plugins import PatternRegistry

#: Logarithms below this one are of probabilities that are nothing in every type, as is their product.
_NOTHING = -1e37


def by_both(x: Tensor, dim: int) -> Tensor:
    return torch.softmax(x, dim) * torch.log_softmax(x, dim)


def by_both_cut_off(x: Tensor, dim: int, least: float) -> Tensor:
    """As in `torch.distributions.Categorical.entropy`."""
    return torch.softmax(x, dim) * torch.clamp(torch.log_softmax(x, dim), min=least)


def by_xlogy(x: Tensor, dim: int) -> Tensor:
    p = torch.softmax(x, dim)
    return torch.ops.aten.xlogy.Tensor(p, p)


def by_special_xlogy(x: Tensor, dim: int) -> Tensor:
    p = torch.softmax(x, dim)
    return torch.ops.aten.special_xlogy.default(p, p)


def _negative_entropy(x: Tensor, dim: int) -> Tensor:
    return -torch.special.entr(torch.softmax(x, dim))


def _negative_entropy_cut_off(x: Tensor, dim: int, least: float) -> Tensor:
    return _negative_entropy(x, dim)


def far_off(x: Tensor, dim: int, least: float) -> bool:
    """Whether what is cut off makes no difference to a number of any type."""
    return least < _NOTHING


def register(registry: PatternRegistry) -> None:
    """Register this file's patterns."""
    registry.register("entropy: softmax * log-softmax", by_both, _negative_entropy)
    registry.register("entropy: xlogy", by_xlogy, _negative_entropy)
    registry.register("entropy: special xlogy", by_special_xlogy, _negative_entropy)
    registry.register(
        "entropy: softmax * log-softmax, cut off", by_both_cut_off, _negative_entropy_cut_off, when=far_off
    )
