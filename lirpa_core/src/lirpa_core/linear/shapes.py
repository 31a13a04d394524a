"""The shape that several tensors have together, and that of bounds by row."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import torch
from torch import Tensor


def broadcast_shapes(*shapes: Sequence[int]) -> torch.Size:
    """What `torch.broadcast_shapes` gives, which imports a library for symbolic algebra (sympy) when it is first called.

    Raises:
        RuntimeError: If the shapes do not fit one another.
    """
    sizes = []
    for dimension in zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1):
        size = next((n for n in dimension if n != 1), 1)
        if any(n not in (1, size) for n in dimension):
            raise RuntimeError(f"shapes {', '.join(str(list(s)) for s in shapes)} cannot be broadcast")
        sizes.append(size)
    return torch.Size(reversed(sizes))


def by_element(rows: Tensor, shape: Sequence[int]) -> Tensor:
    """Numbers of rows that read each element, `[R, B]`, in the elements' shape: `[B, *S]`, of which there may be none."""
    return rows.T.reshape(rows.shape[1], *shape)
