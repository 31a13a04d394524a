"""The shape that several tensors have together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import torch


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
