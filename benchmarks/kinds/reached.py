"""What a function reaches on a box: corners, samples, and steps along the gradient from the best of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.kinds.case import Function

_SAMPLES = 1000
_CORNERS = 9
#: Steps along the gradient.
STEPS = 30


@dataclass(frozen=True)
class Reached:
    """The least and the greatest value of each output that was found, each `[B, K]`."""

    least: Tensor
    most: Tensor


def reached(model: Function, lower: Tensor, upper: Tensor) -> Reached:
    """Search a box for the extremes of every output.

    Args:
        model: The function, of `[n, *S]`.
        lower: Lower ends, `[B, *S]`.
        upper: Upper ends, `[B, *S]`.
    """
    found = [_of_one(model, low, up) for low, up in zip(lower, upper, strict=True)]
    return Reached(torch.stack([low for low, _ in found]), torch.stack([up for _, up in found]))


def _of_one(model: Function, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    points = _points(lower, upper)  # [n, *S]
    values = _values(model, points)  # [n, K]
    least, most = values.amin(0), values.amax(0)
    start = torch.cat([points[values.argmin(0)], points[values.argmax(0)]])  # [2K, *S]
    for step in range(STEPS):
        moved = _moved(model, start, lower, upper, 0.3 * 0.85**step)
        if moved is None:
            break
        start = moved
        low, up = _values(model, start).chunk(2)
        least, most = (
            torch.minimum(least, torch.minimum(low.amin(0), up.amin(0))),
            torch.maximum(most, torch.maximum(low.amax(0), up.amax(0))),
        )
    return least, most


def _points(lower: Tensor, upper: Tensor) -> Tensor:
    """Samples of the box, its middle, and corners: all of them where there are few, `[n, *S]`."""
    generator = torch.Generator().manual_seed(0)
    size = lower.numel()
    inside = torch.rand(_SAMPLES, *lower.shape, generator=generator, dtype=lower.dtype)
    if size <= _CORNERS:
        signs = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * size).reshape(-1, *lower.shape)
    else:
        signs = torch.randint(2, (2**_CORNERS, *lower.shape), generator=generator)
    middle = torch.full((1, *lower.shape), 0.5)
    return lower + (upper - lower) * torch.cat([inside, signs.to(lower.dtype), middle.to(lower.dtype)])


def _values(model: Function, points: Tensor) -> Tensor:
    """Outputs, `[n, K]`, a few points at a time."""
    parts = [
        model(part).detach() for part in points.detach().split(512)
    ]  # with gradients, which a model may want
    return torch.cat(parts).flatten(1).to(torch.float64)


def _moved(model: Function, start: Tensor, lower: Tensor, upper: Tensor, rate: float) -> Tensor | None:
    """The first half of the points down and the second half up along the gradient of its own output; None without one."""
    x = start.clone().requires_grad_()
    try:
        out = model(x).flatten(1)  # [2K, K]
        down, up = out.chunk(2)
        (gradient,) = torch.autograd.grad(up.diagonal().sum() - down.diagonal().sum(), x)
    except (RuntimeError, NotImplementedError):  # what has no derivative is not attacked
        return None
    return (x.detach() + rate * (upper - lower) * gradient.nan_to_num().sign()).clamp(lower, upper)
