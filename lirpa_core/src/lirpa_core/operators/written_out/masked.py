"""Softmax of masked scores: −∞ is no number that bounds can be computed with.

`scores.masked_fill(mask, -inf).softmax(dim)` is the usual way to leave scores out. Its value is exact, but the −∞ in between would turn
into NaN in every linear bound. So it becomes one operator, `lirpa::masked_softmax`, which a plugin may know and which otherwise
leaves the masked scores out of the sum. Where nothing but masked scores is left, PyTorch's softmax is NaN, and this one zero.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

import lirpa_core.operators.masked_softmax  # noqa: F401  (defines lirpa::masked_softmax)
from lirpa_core.plugins import PatternRegistry

masked_softmax = torch.ops.lirpa.masked_softmax.default


def masked(x: Tensor, mask: Tensor, dim: int) -> Tensor:
    return torch.softmax(torch.masked_fill(x, mask, -math.inf), dim)


def kept(x: Tensor, mask: Tensor, dim: int) -> Tensor:
    return torch.softmax(torch.where(mask, x, -math.inf), dim)


def masked_twice(x: Tensor, mask: Tensor, other: Tensor, dim: int) -> Tensor:
    return masked_softmax(torch.masked_fill(x, mask, -math.inf), other, dim)


def kept_and_masked(x: Tensor, mask: Tensor, other: Tensor, dim: int) -> Tensor:
    return masked_softmax(torch.where(mask, x, -math.inf), other, dim)


def by_mask(x: Tensor, mask: Tensor, dim: int) -> Tensor:
    return masked_softmax(x, mask, dim)


def by_opposite(x: Tensor, mask: Tensor, dim: int) -> Tensor:
    return masked_softmax(x, torch.logical_not(mask), dim)


def by_both(x: Tensor, mask: Tensor, other: Tensor, dim: int) -> Tensor:
    return masked_softmax(x, torch.logical_or(mask, other), dim)


def by_opposite_and_other(x: Tensor, mask: Tensor, other: Tensor, dim: int) -> Tensor:
    return masked_softmax(x, torch.logical_or(torch.logical_not(mask), other), dim)


def fits(x: Tensor, mask: Tensor, dim: int) -> bool:
    """Whether the mask is one, and no larger than the scores."""
    return mask.dtype == torch.bool and torch.broadcast_shapes(x.shape, mask.shape) == x.shape


def both_fit(x: Tensor, mask: Tensor, other: Tensor, dim: int) -> bool:
    return fits(x, mask, dim) and fits(x, other, dim)


def register(registry: PatternRegistry) -> None:
    """Register this file's patterns."""
    for name, written, becomes, when in (
        ("masked softmax: masked_fill", masked, by_mask, fits),
        ("masked softmax: where", kept, by_opposite, fits),
        ("masked softmax: two masks", masked_twice, by_both, both_fit),
        ("masked softmax: what is kept, and a mask", kept_and_masked, by_opposite_and_other, both_fit),
    ):
        registry.register(name, written, becomes, when=when, as_executed=True)
