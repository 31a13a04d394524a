"""Broadcasting behind leading dimensions, and its transpose."""

from __future__ import annotations

from torch import Tensor

from lirpa_core.graph import Shape


def align(x: Tensor, lead: int, rank: int) -> Tensor:
    """Insert singleton dimensions after the leading ones, so that trailing broadcasting works.

    Args:
        x: `[*L, *S]` with `lead` leading dimensions.
        lead: Number of leading dimensions.
        rank: Wanted rank of `S`.
    """
    missing = rank - (x.dim() - lead)
    if missing <= 0:
        return x
    return x.reshape(*x.shape[:lead], *([1] * missing), *x.shape[lead:])


def sum_to(x: Tensor, shape: Shape, lead: int) -> Tensor:
    """Undo broadcasting: sum `[*L, *S]` down to `[*L, *shape]`."""
    extra = x.dim() - lead - len(shape)
    dims = list(range(lead, lead + extra))
    dims += [lead + extra + i for i, n in enumerate(shape) if n == 1 and x.shape[lead + extra + i] != 1]
    if not dims:
        return x
    return x.sum(dims).reshape(*x.shape[:lead], *shape)
