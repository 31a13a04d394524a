"""Where the examples of a batch lie in a model's inputs and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lirpa_core.errors import InputError


def default_batch_dims(inputs: Sequence[Any]) -> tuple[int | None, ...]:
    """Guess which inputs are per example: those whose leading size equals the first float tensor's."""
    first = next((x for x in inputs if isinstance(x, Tensor) and x.is_floating_point() and x.dim()), None)
    if first is None:
        return (None,) * len(inputs)
    size = first.shape[0]
    return tuple(0 if isinstance(x, Tensor) and x.dim() and x.shape[0] == size else None for x in inputs)


def batch_size(inputs: Sequence[Any], dims: Sequence[int | None], names: Sequence[str]) -> int:
    """The number of examples, from the inputs that are per example; a size of one broadcasts.

    Raises:
        InputError: If two inputs disagree.
    """
    sizes = {
        name: x.shape[dim]
        for x, dim, name in zip(inputs, dims, names, strict=True)
        if dim is not None and isinstance(x, Tensor)
    }
    distinct = {n for n in sizes.values() if n != 1}
    if len(distinct) > 1:
        listed = ", ".join(f"{name}: {n}" for name, n in sizes.items())
        raise InputError(
            f"the per-example inputs disagree about the batch size ({listed}). Give all of them the same "
            "size, or say which inputs are shared by all examples with BoundedModule(..., batch_dims=...)."
        )
    return max(sizes.values(), default=1)


def one_example(x: Any, dim: int | None) -> Any:
    """The first example of an input, its batch dimension kept with size one."""
    return x.narrow(dim, 0, 1) if dim is not None and isinstance(x, Tensor) else x


def to_batch_first(x: Tensor, dim: int) -> Tensor:
    """`[.., B, ..]` in the user's layout to `[B, *S]`, where `S` keeps dimension `dim` with size one."""
    return x.movedim(dim, 0).unsqueeze(dim + 1)


def from_batch_first(x: Tensor, dim: int | None) -> Tensor:
    """`[B, *S]` back to the user's layout; the batch is folded into dimension `dim` of `S`."""
    if dim is None:
        return x[0]
    moved = x.movedim(0, dim)  # the batch now stands right before dimension `dim` of S
    return moved.flatten(dim, dim + 1)


def output_batch_dim(one: Sequence[int], many: Sequence[int], n: int) -> int | None:
    """The dimension of an output that grew `n` times from one example to `n`; None if none did.

    Raises:
        ValueError: If the two shapes do not differ in exactly such a dimension.
    """
    if len(one) != len(many):
        raise ValueError(f"rank {len(one)} for one example, rank {len(many)} for {n}")
    grown = [d for d, (a, b) in enumerate(zip(one, many, strict=True)) if a != b]
    if not grown:
        return None
    if len(grown) > 1 or many[grown[0]] != n * one[grown[0]]:
        raise ValueError(f"shape {list(one)} for one example, {list(many)} for {n}")
    return grown[0]


def second_batch(inputs: Sequence[Any], dims: Sequence[int | None]) -> tuple[Any, ...]:
    """A batch of another size: one more example, which differs from the first in its float inputs."""

    def grow(x: Any, dim: int | None) -> Any:
        if dim is None or not isinstance(x, Tensor):
            return x
        extra = x.narrow(dim, 0, 1)
        if x.is_floating_point():
            wave = torch.arange(extra.numel(), dtype=x.dtype, device=x.device).cos().reshape(extra.shape)
            extra = extra * 0.9 + 0.01 * wave
        return torch.cat([x, extra], dim)

    return tuple(grow(x, dim) for x, dim in zip(inputs, dims, strict=True))
