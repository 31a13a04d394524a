"""Members of sets where networks' values may be extreme: corners, samples, and steps along the gradient; for a group at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import torch
from torch import Tensor

from lirpa_testing.fuzz.case import Case, parameters

_SAMPLES = 24
_STEPS = 4

#: Members of a case that are tried with extreme weights.
_WITH_WEIGHTS = 6

#: The networks of a group in float64: from inputs `[n, width]` and which case each belongs to, `[n]`, to outputs `[n, K]`.
_Networks: TypeAlias = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Member:
    """A point of a set, and a weight.

    Args:
        case: Which case of the group it belongs to.
        point: The point, `[width]`.
        weight: The perturbed weight; None where it is as it is.
    """

    case: int
    point: tuple[Fraction, ...]
    weight: tuple[tuple[Fraction, ...], ...] | None = None


def members(cases: Sequence[Case], seed: int) -> list[Member]:
    """Exact members: for each output those where it is least and greatest as far as float64 tells, and a few others.

    Args:
        cases: A group.
        seed: Of the samples.
    """
    networks = _networks(cases)
    found = _outermost(cases, networks)
    for i, more in enumerate(_searched(cases, networks, seed)):
        found[i] += more
    if cases[0].weight is not None:
        for i, case in enumerate(cases):
            found[i] += [m for known in found[i][:_WITH_WEIGHTS] for m in _weight_corners(case, known)]
    return [member for each in found for member in each]


def _networks(cases: Sequence[Case]) -> _Networks:
    program = cases[0].program
    if not program.may_own:  # then all cases have the same parameters
        model = program.module(torch.float64)
        return lambda x, _: model(x)
    model, own = program.module(torch.float64, own=True), parameters(cases, torch.float64)
    return lambda x, of: model(x, *[p[of] for p in own])


def _outermost(cases: Sequence[Case], networks: _Networks) -> list[list[Member]]:
    """Of the corners of each case's set, the extreme ones."""
    corners = [case.region.corners(case.x) for case in cases]
    counts = [len(each) for each in corners]
    of = torch.arange(len(cases)).repeat_interleave(torch.tensor(counts))
    values = networks(_floats([point for each in corners for point in each]), of).detach().split(counts)
    return [
        [Member(i, each[k]) for k in sorted(_extremes(out) | {0})]
        for i, (each, out) in enumerate(zip(corners, values, strict=True))
    ]


def _searched(cases: Sequence[Case], networks: _Networks, seed: int) -> list[list[Member]]:
    """Of what samples and steps along the gradient reach, the extreme ones of each case."""
    x = torch.tensor([case.x for case in cases], dtype=torch.float64)
    first, *others = [case.region for case in cases]
    known = first.search(x, others)  # type: ignore[arg-type]
    if known is None:
        return [[] for _ in cases]
    ptb, centre = known
    shift, hull, of = x - centre, ptb.hull(centre), torch.arange(len(cases)).repeat(_SAMPLES)
    span = (hull.upper - hull.lower) / 2  # [B, width]
    z = ptb.sample(centre, _SAMPLES, torch.Generator().manual_seed(seed))  # [n, B, width]
    found, values = [], []
    for i in range(_STEPS + 1):
        z = z.detach().requires_grad_()
        out = networks((z + shift).flatten(0, 1), of).unflatten(0, z.shape[:2])  # [n, B, K]
        found.append(z.detach())
        values.append(out.detach())
        if i == _STEPS or not out.requires_grad:
            break
        n, count = torch.arange(len(z)), out.shape[2]
        chosen = out[n, :, n % count]  # [n, B]
        sign = torch.where(n // count % 2 == 0, 1.0, -1.0).unsqueeze(1)
        (gradient,) = torch.autograd.grad((chosen * sign).sum(), z)
        z = ptb.project(centre, (z + span / 2**i * gradient.sign()).detach())
    everything, outputs = torch.cat(found), torch.cat(values)
    return [
        [
            Member(i, point)
            for point in case.region.members(case.x, everything[sorted(_extremes(outputs[:, i]) | {0, 1}), i])
        ]
        for i, case in enumerate(cases)
    ]


def _weight_corners(case: Case, member: Member) -> list[Member]:
    """The member with weights at the ends of their intervals, towards which an output falls or rises there."""
    assert case.weight is not None
    step, eps = case.weight
    model, radius = case.program.module(torch.float64), Fraction(eps)
    weight = getattr(model, f"p{step}").requires_grad_()
    out = model(_floats([member.point]))[0]
    nominal = [[Fraction(v) for v in row] for row in weight.tolist()]
    found = []
    for value in out[:2] if out.requires_grad else ():
        (gradient,) = torch.autograd.grad(value, weight, retain_graph=True, allow_unused=True)
        if gradient is None:
            continue
        up = (gradient >= 0).tolist()
        for side in (1, -1):
            corner = tuple(
                tuple(w + (radius if rises else -radius) * side for w, rises in zip(row, line, strict=True))
                for row, line in zip(nominal, up, strict=True)
            )
            found.append(Member(member.case, member.point, corner))
    return found


def _floats(points: Sequence[Sequence[Fraction]]) -> Tensor:
    return torch.tensor([[float(v) for v in point] for point in points], dtype=torch.float64)


def _extremes(values: Tensor) -> set[int]:
    """Where each output is greatest and where it is least, `[n, K]`; what is not a number is neither."""
    known = ~values.isnan()
    return {
        int(i)
        for v in (torch.where(known, values, -torch.inf), torch.where(known, -values, -torch.inf))
        for i in v.argmax(0)
    }
