"""Members of a set where a network's values may be extreme: corners, samples, and steps along the gradient."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor

from lirpa_testing.fuzz.case import Case

_SAMPLES = 24
_STEPS = 4


def points(case: Case, seed: int) -> list[tuple[Fraction, ...]]:
    """Exact members: for each output those where it is least and greatest as far as float64 tells, and a few others.

    Args:
        case: The case.
        seed: Of the samples.
    """
    x = torch.tensor([case.x], dtype=torch.float64)
    ptb, centre = case.region.search(x)
    shift = x - centre
    model = case.program.module(torch.float64)
    z = ptb.sample(centre, _SAMPLES, torch.Generator().manual_seed(seed)).squeeze(1)  # [n, width]
    span = (ptb.hull(centre).upper - ptb.hull(centre).lower) / 2
    found, values = [], []
    for i in range(_STEPS + 1):
        z = z.detach().requires_grad_()
        out = model(z + shift)  # [n, K]
        found.append(z.detach())
        values.append(out.detach())
        if i == _STEPS:
            break
        k = torch.arange(len(z)) % out.shape[1]
        sign = torch.where(torch.arange(len(z)) // out.shape[1] % 2 == 0, 1.0, -1.0)
        (gradient,) = torch.autograd.grad((out[torch.arange(len(z)), k] * sign).sum(), z)
        moved = (z + span / 2**i * gradient.sign()).detach()
        z = ptb.project(centre, moved.unsqueeze(1)).squeeze(1)
    everything = torch.cat(found)
    members = case.region.corners(case.x)
    corners = torch.tensor([[float(v) for v in m] for m in members], dtype=torch.float64)
    corner_values = model(corners).detach()
    inside = torch.cat(values)
    chosen = _extremes(inside) | {0, 1}
    best = _extremes(corner_values) | {0}
    return [members[i] for i in sorted(best)] + case.region.members(case.x, everything[sorted(chosen)])


def _extremes(values: Tensor) -> set[int]:
    """Where each output is greatest and where it is least, `[n, K]`; what is not a number is neither."""
    known = ~values.isnan()
    return {
        int(i)
        for v in (torch.where(known, values, -torch.inf), torch.where(known, -values, -torch.inf))
        for i in v.argmax(0)
    }
