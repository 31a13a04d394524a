"""Points of a box at which bounds are most likely to be violated, found by gradient ascent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from lirpa_core.linear import Interval
from lirpa_core.linear.coefficients import flatten
from lirpa_testing.tolerance import allowance

_ELEMENTS = 12

Points = tuple[Tensor, ...]


class Target(Protocol):
    """What is attacked: bounds of a function on boxes."""

    @property
    def inputs(self) -> tuple[Interval, ...]:
        """The boxes, one an operand, `[B, *S_i]`."""

    @property
    def steps(self) -> int:
        """Steps of gradient ascent."""

    @property
    def batch(self) -> int:
        """Number of examples `B`."""

    @property
    def terms(self) -> int:
        """Roundings that the bounds are allowed."""

    @property
    def start_points(self) -> Points:
        """Where the search begins, `[n, B, *S_i]`."""

    @property
    def start_outputs(self) -> Tensor:
        """The function there, `[n, B, *S]`."""

    def margins(self, points: Points) -> Tensor:
        """By how much the bounds are violated at points, `[bounds, n, B, *S]`."""


def clamp(x: Tensor, box: Interval) -> Tensor:
    """The nearest point of the box."""
    return x.maximum(box.lower).minimum(box.upper)


def gradients_of(goal: Tensor, leaves: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
    """Gradients; None for all of them where PyTorch has no derivative of the operator."""
    try:
        return torch.autograd.grad(goal, list(leaves), allow_unused=True)
    except RuntimeError as error:
        if "is not implemented" in str(error):
            return (None,) * len(leaves)
        raise


def attack(case: Target) -> Points:
    """Points found by a few steps of gradient ascent on the worst margins: `[n, B, *S_i]`."""
    size = case.start_outputs[0, 0].numel()
    with torch.no_grad():
        margins = flatten(case.margins(case.start_points), 3) if size else case.start_outputs.new_zeros(0)
    if margins.numel() == 0 or not bool(margins.isfinite().all()):
        return tuple(x[:0] for x in case.start_points)
    margins = margins.reshape(margins.shape[0], margins.shape[1], case.batch, size)
    worst, where = margins.max(1)  # [bounds, B, size]
    slack = allowance(worst.abs(), case.terms)
    element = (worst - slack).topk(min(size, _ELEMENTS), dim=-1).indices  # [bounds, B, k]
    start = where.gather(-1, element).movedim(-1, 1).flatten(0, 1)  # [bounds * k, B]
    chosen = element.movedim(-1, 1).flatten(0, 1)  # [bounds * k, B]
    bound = torch.arange(len(margins)).repeat_interleave(element.shape[-1]).reshape(-1, 1)
    example = torch.arange(case.batch).reshape(1, -1)
    points = tuple(x[start, example].detach() for x in case.start_points)
    found = []
    for step in range(case.steps):
        leaves = [x.clone().requires_grad_() for x in points]
        with torch.enable_grad():
            margin = case.margins(tuple(leaves))
            margin = margin.reshape(len(margins), -1, case.batch, size)
            goal = margin[bound, torch.arange(len(chosen)).reshape(-1, 1), example, chosen].sum()
            if not goal.requires_grad:
                break
            gradients = gradients_of(goal, leaves)
        points = tuple(
            x
            if g is None
            else clamp(x + torch.where(g.isnan(), 0, g).sign() * box.width * 0.5 ** (step + 1), box)
            for x, g, box in zip(points, gradients, case.inputs, strict=True)
        )
        found.append(points)
    if not found:
        return tuple(x[:0] for x in case.start_points)
    return tuple(torch.cat(parts) for parts in zip(*found, strict=True))
