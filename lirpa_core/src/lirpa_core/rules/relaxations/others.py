"""Sums of all elements but one, without subtracting what is left from what is larger."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def sum_of_others(x: Tensor, dims: Sequence[int], largest: Tensor | None = None) -> Tensor:
    """The sum of all elements along some dimensions except each itself, in the shape of `x`.

    A sum less one of its elements has no digits left where that element is far larger than all others. Only the largest
    element can be; its others are added by themselves, and those of any other element contain the largest. So each result is
    right within about as many roundings as there are elements, relative to the sum of the others' sizes.

    Args:
        x: `[.., *S]`.
        dims: The dimensions of one sum, negative.
        largest: Where the largest element of each sum is, one for each, broadcastable to `x`; default: where that of `x` is, which
            then is not negative.

    Returns:
        `Σ_{j≠i} xⱼ`, `[.., *S]`; where the largest element is infinite, NaN for the others.
    """
    dims = list(dims)
    top = one_largest(x, dims) if largest is None else largest
    rest = torch.where(top, 0, x)
    total = rest.sum(dims, keepdim=True)
    leader = torch.where(top, x, 0).sum(dims, keepdim=True)
    return torch.where(top, total, leader + (total - rest))


def one_largest(x: Tensor, dims: Sequence[int]) -> Tensor:
    """Where the largest element along some dimensions is, the first of several: booleans in the shape of `x`."""
    last = tuple(range(-len(dims), 0))
    lines = x.detach().movedim(tuple(dims), last)
    flat = lines.flatten(-len(dims))
    top = torch.zeros_like(flat, dtype=torch.bool).scatter(-1, flat.argmax(-1, keepdim=True), True)
    return top.reshape(lines.shape).movedim(last, tuple(dims))
