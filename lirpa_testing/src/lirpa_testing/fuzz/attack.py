"""Members of a set where a network's values may be extreme: corners, samples, and steps along the gradient."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    model = case.program.module(torch.float64)
    members = case.region.corners(case.x)
    corners = torch.tensor([[float(v) for v in m] for m in members], dtype=torch.float64)
    best = sorted(_extremes(model(corners).detach()) | {0})
    outermost = [members[i] for i in best]
    known = case.region.search(x)
    if known is None:
        return outermost
    ptb, centre = known
    shift = x - centre
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
    chosen = _extremes(torch.cat(values)) | {0, 1}
    return outermost + case.region.members(case.x, everything[sorted(chosen)])


def weight_corners(case: Case, point: Sequence[Fraction]) -> Iterator[list[list[Fraction]]]:
    """Weights at the ends of their intervals, towards which an output falls or rises at a point.

    Args:
        case: A case with a perturbed weight.
        point: A member of its set.
    """
    assert case.weight is not None
    step, eps = case.weight
    model, radius = case.program.module(torch.float64), Fraction(eps)
    weight = getattr(model, f"p{step}").requires_grad_()
    out = model(torch.tensor([[float(v) for v in point]], dtype=torch.float64))[0]
    nominal = [[Fraction(v) for v in row] for row in weight.tolist()]
    for value in out[:2]:
        (gradient,) = torch.autograd.grad(value, weight, retain_graph=True, allow_unused=True)
        if gradient is None:
            continue
        up = (gradient >= 0).tolist()
        for side in (1, -1):
            yield [
                [w + (radius if rises else -radius) * side for w, rises in zip(row, line, strict=True)]
                for row, line in zip(nominal, up, strict=True)
            ]


def _extremes(values: Tensor) -> set[int]:
    """Where each output is greatest and where it is least, `[n, K]`; what is not a number is neither."""
    known = ~values.isnan()
    return {
        int(i)
        for v in (torch.where(known, values, -torch.inf), torch.where(known, -values, -torch.inf))
        for i in v.argmax(0)
    }
