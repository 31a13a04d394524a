"""Maxima along dimensions as max pooling, whose derivative has bounds: every element that may be the largest may have all of it.

PyTorch's own derivatives of `amax` and `max` divide by how many elements are the largest, or read where it is: numbers that jump.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def largest(x: Tensor, dims: Sequence[int] = (), keepdim: bool = False) -> Tensor | None:
    """The largest element along dimensions, all of them if there are none; None for what pooling does not know.

    Args:
        x: The elements.
        dims: The dimensions.
        keepdim: Whether they stay, with one element each.
    """
    if not x.is_floating_point() or x.dim() == 0 or x.numel() == 0:
        return None
    along = sorted({d % x.dim() for d in dims} or range(x.dim()))
    rest = [d for d in range(x.dim()) if d not in along]
    lines = x.permute(*rest, *along).reshape(1, 1, -1, _size(x, along))
    found = F.max_pool2d(lines, (1, lines.shape[-1])).reshape([x.shape[d] for d in rest])
    return found.reshape([1 if d in along else n for d, n in enumerate(x.shape)]) if keepdim else found


def _size(x: Tensor, dims: Sequence[int]) -> int:
    size = 1
    for d in dims:
        size *= x.shape[d]
    return size


def _opposite(found: Tensor | None) -> Tensor | None:
    return None if found is None else -found


def _called_plainly(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of `(tensor, dim, keepdim)`, that gives None for calls with anything else, such as a second tensor."""

    def instead(*args: Any, **kwargs: Any) -> Any:
        plain = 0 < len(args) <= 3 and kwargs.keys() <= {"dim", "keepdim"}
        return function(*args, **kwargs) if plain else None

    return instead


@_called_plainly
def amax(x: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor | None:
    """Instead of `torch.amax`."""
    return largest(x, (dim,) if isinstance(dim, int) else dim, keepdim)


@_called_plainly
def amin(x: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor | None:
    """Instead of `torch.amin`."""
    return _opposite(largest(-x, (dim,) if isinstance(dim, int) else dim, keepdim))


@_called_plainly
def maximum_along(x: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """Instead of `torch.max` of one tensor; the places of the maxima are PyTorch's."""
    if dim is None:
        return largest(x)
    found = largest(x, (dim,), keepdim) if isinstance(dim, int) else None
    return None if found is None else torch.return_types.max((found, x.detach().argmax(dim, keepdim)))


@_called_plainly
def minimum_along(x: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """Instead of `torch.min` of one tensor."""
    if dim is None:
        return _opposite(largest(-x))
    found = largest(-x, (dim,), keepdim) if isinstance(dim, int) else None
    return None if found is None else torch.return_types.min((-found, x.detach().argmin(dim, keepdim)))
