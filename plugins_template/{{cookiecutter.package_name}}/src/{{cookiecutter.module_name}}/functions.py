"""The operators themselves, one of each family. Nothing here knows of lirpa."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def differences(x: Tensor) -> Tensor:
    """What changes from each element to the next, along the last dimension: a linear operator."""
    return x[..., 1:] - x[..., :-1]


def pairwise(x: Tensor, y: Tensor) -> Tensor:
    """All products of an element of `x` and one of `y`, `[..., n]` and `[..., m]` to `[..., n, m]`."""
    return x.unsqueeze(-1) * y.unsqueeze(-2)


class Squash(nn.Module):
    """`x / (1 + sharpness |x|)`, elementwise, between plus and minus `1 / sharpness`."""

    def __init__(self, sharpness: float = 1.0) -> None:
        super().__init__()
        if not sharpness > 0:
            raise ValueError(f"sharpness must be positive, got {sharpness}")
        self.sharpness = sharpness

    def forward(self, x: Tensor) -> Tensor:
        return x / (1 + self.sharpness * x.abs())


def bump(x: Tensor) -> Tensor:
    """The bell curve `exp(-x²)`, elementwise."""
    return torch.exp(-x * x)


@torch.library.custom_op("{{ cookiecutter.module_name }}::length", mutates_args=())
def length(x: Tensor, y: Tensor) -> Tensor:
    """`sqrt(x² + y²)`, elementwise: an operator that the compiler does not look into."""
    if x.shape != y.shape:
        raise ValueError(f"length takes two tensors of one shape, got {list(x.shape)} and {list(y.shape)}")
    return torch.hypot(x, y)


@length.register_fake
def _(x: Tensor, y: Tensor) -> Tensor:
    return torch.empty_like(x)


def _save(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: torch.autograd.function.BackwardCFunction, gradient: Tensor) -> tuple[Tensor, Tensor]:
    x, y = tuple(ctx.saved_tensors)
    h = torch.hypot(x, y)
    scale = torch.where(h > 0, gradient / torch.where(h > 0, h, 1), 0)
    return scale * x, scale * y


length.register_autograd(_backward, setup_context=_save)


@length.register_vmap
def _(info: Any, in_dims: tuple[int | None, int | None], x: Tensor, y: Tensor) -> tuple[Tensor, int]:
    first = [
        t.expand(info.batch_size, *t.shape) if d is None else t.movedim(d, 0)
        for t, d in zip((x, y), in_dims, strict=True)
    ]
    return length(*first), 0
