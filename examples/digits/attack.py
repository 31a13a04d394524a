"""A small attack, to see how far from the truth the certificates are: nothing certified may fall to it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lirpa_core import PerturbationLpNorm


def survives(
    model: nn.Module,
    x: Tensor,
    C: Tensor,
    ptb: PerturbationLpNorm,
    *,
    steps: int = 20,
    restarts: int = 2,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Which images keep their class under projected gradient descent on the smallest margin.

    Args:
        model: The classifier.
        x: Images `[B, n]`.
        C: Margins `[B, 9, 10]`, all positive where an image is classified correctly.
        ptb: The set to search.
        steps: Gradient steps of each try.
        restarts: Tries; the first starts at the images themselves, the others at random members.
        generator: Source of randomness.

    Returns:
        `[B]` booleans.
    """
    lower, upper = ptb.hull(x).lower, ptb.hull(x).upper
    step = 2.5 / steps * (upper - lower).amax(1, keepdim=True) / 2
    alive = _margin(model, x, C) > 0
    starts = [x, *ptb.sample(x, restarts - 1, generator)] if restarts > 1 else [x]
    for begin in starts:
        z = begin
        for _ in range(steps):
            z = z.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(_margin(model, z, C).sum(), z)
            z = ptb.project(x, (z.detach() - step * _direction(gradient, ptb.norm)).unsqueeze(0))[0]
            alive = alive & (_margin(model, z, C) > 0)
    return alive


def _margin(model: nn.Module, z: Tensor, C: Tensor) -> Tensor:
    """The smallest margin of each image, `[B]`."""
    return torch.einsum("bko,bo->bk", C, model(z)).amin(1)


def _direction(gradient: Tensor, norm: float) -> Tensor:
    """The steepest direction of unit length: by signs for L-infinity, else Euclidean."""
    if norm == float("inf"):
        return gradient.sign()
    length = gradient.norm(dim=1, keepdim=True)
    return gradient / torch.where(length > 0, length, 1)
