"""Sums of all elements but one, without subtracting what is left from what is larger."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def sum_of_others(x: Tensor, dims: Sequence[int]) -> Tensor:
    """The sum of all elements along some dimensions except each itself, in the shape of `x`.

    A sum less one of its elements has no digits left where that element is far larger than all others. Only the largest
    element can be; its others are added by themselves, and those of any other element contain the largest. So each result is
    right within about as many roundings as there are elements.

    Args:
        x: Not negative, `[.., *S]`.
        dims: The dimensions of one sum, negative.

    Returns:
        `Σ_{j≠i} xⱼ`, `[.., *S]`; where the largest element is infinite, NaN for the others.
    """
    flat = x.movedim(tuple(dims), tuple(range(-len(dims), 0)))
    kept = flat.shape
    flat = flat.flatten(-len(dims))
    largest = flat.detach().argmax(-1, keepdim=True)
    top = torch.zeros_like(flat, dtype=torch.bool).scatter(-1, largest, True)
    rest = torch.where(top, 0, flat)
    total = rest.sum(-1, keepdim=True)
    leader = flat.gather(-1, largest)
    found = torch.where(top, total, leader + (total - rest).clamp(min=0))
    return found.reshape(kept).movedim(tuple(range(-len(dims), 0)), tuple(dims))
