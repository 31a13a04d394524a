"""An oracle that knows nothing of relaxations: sample a perturbation set, climb, look for an escape."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lirpa_core import BoundedTensor


def worst_escape(
    model: Callable[[Tensor], Tensor],
    x: BoundedTensor,
    lower: Tensor,
    upper: Tensor,
    *,
    samples: int = 48,
    steps: int = 6,
    seed: int = 0,
) -> float:
    """Largest amount by which an output found in the set leaves `[lower, upper]`; negative if none does.

    Starts from random members and extreme points of the set, then follows the sign of the gradient
    of one output element up or down (another one a sample), projecting back into the set.

    Args:
        model: The model, batch first.
        x: The input with its set.
        lower: `[B, *out]`.
        upper: `[B, *out]`.
        samples: Starting points an example.
        steps: Gradient steps.
        seed: Of the starting points.
    """
    ptb, nominal = x.ptb, x.plain().detach()
    generator = torch.Generator().manual_seed(seed)
    z = ptb.sample(nominal, samples, generator)  # [samples, B, *S]
    hull = ptb.hull(nominal)
    step = (hull.upper - hull.lower).detach() / 4
    low, up = lower.detach().flatten(1), upper.detach().flatten(1)
    worst = -float("inf")
    for i in range(steps + 1):
        z = z.detach().requires_grad_()
        out = model(z.flatten(0, 1)).reshape(*z.shape[:2], -1)  # [samples, B, K]
        worst = max(worst, float((low - out).detach().max()), float((out - up).detach().max()))
        if i == steps:
            break
        k = torch.arange(samples) % out.shape[-1]
        sign = torch.where(torch.arange(samples) // out.shape[-1] % 2 == 0, 1.0, -1.0).to(out.dtype)
        objective = (out[torch.arange(samples), :, k] * sign.unsqueeze(1)).sum()
        (gradient,) = torch.autograd.grad(objective, z)
        z = ptb.project(nominal, (z + step * gradient.sign()).detach())
    return worst
