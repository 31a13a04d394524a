"""Splitting where the bounds say that it helps most, and where trying says so.

Bunel et al. 2020, "Branch and bound for piecewise linear neural network verification", section 5.2.1, try every
input ("smart branching"); Wang et al. 2018, "Formal security analysis of neural networks using symbolic
intervals", section 4.3, weigh an input's width with the gradient. Here the gradient is that of the linear bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_verify.branching.boxes import OpenBoxes


def sensitivities(boxes: OpenBoxes) -> Tensor:
    """How much the bounds of the open rows vary along each input: `[B, N]`.

    Rows far from being decided say less about where to split, so each is weighed by the inverse of what it lacks.
    """
    width = boxes.upper - boxes.lower
    lacking = boxes.bounds.clamp(max=0).abs()
    smallest = torch.where(boxes.open, lacking, torch.inf).amin(1, keepdim=True)
    weight = torch.where(boxes.open, (1 + smallest) / (1 + lacking), 0)  # [B, R]
    return (boxes.coefficients.abs() * weight.unsqueeze(2)).sum(1) * width


@dataclass(frozen=True)
class Longest:
    """Halve the widest input."""

    def choose(self, boxes: OpenBoxes) -> Tensor:
        """`[B]`."""
        return (boxes.upper - boxes.lower).argmax(1)


@dataclass(frozen=True)
class Sensitivity:
    """Halve the input along which the linear bounds vary most."""

    def choose(self, boxes: OpenBoxes) -> Tensor:
        """`[B]`."""
        return sensitivities(boxes).argmax(1)


@dataclass(frozen=True)
class Smart:
    """Halve the most sensitive inputs on trial, and keep the split with the best bounds.

    Attributes:
        candidates: How many inputs are tried for each box.
    """

    candidates: int = 3

    def choose(self, boxes: OpenBoxes) -> Tensor:
        """`[B]`."""
        count = min(self.candidates, boxes.lower.shape[1])
        tried = sensitivities(boxes).topk(count, 1).indices  # [B, k]
        if count == 1:
            return tried[:, 0]
        batch = boxes.lower.shape[0]
        lower, upper = halves(boxes.lower.repeat(count, 1), boxes.upper.repeat(count, 1), tried.T.reshape(-1))
        margins = _margins(boxes, boxes.trial(lower, upper), 2 * count)  # [2 · k, B]
        first, second = margins.reshape(2, count, batch)
        # A closed half is done with; otherwise both halves count.
        score = first.clamp(max=0) + second.clamp(max=0)
        return tried.gather(1, score.argmax(0).unsqueeze(1)).squeeze(1)


def halves(lower: Tensor, upper: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes `[B, N]` cut in the middle of one input each: all lower halves, then all upper halves, `[2·B, N]`."""
    index = chosen.unsqueeze(1)
    middle = lower.gather(1, index) / 2 + upper.gather(1, index) / 2
    return (
        torch.cat([lower, lower.scatter(1, index, middle)]),
        torch.cat([upper.scatter(1, index, middle), upper]),
    )


def _margins(boxes: OpenBoxes, rows: Tensor, copies: int) -> Tensor:
    """The worst margin of the open violations of boxes that were copied: from `[copies·B, R]` to `[copies, B]`."""
    groups = boxes.groups
    spread = rows.unsqueeze(1).masked_fill(~groups, -torch.inf).amax(2)  # [copies·B, G]
    closed = ~(boxes.open.unsqueeze(1) & groups).any(2)  # [B, G]
    return spread.masked_fill(closed.repeat(copies, 1), torch.inf).amin(1).reshape(copies, -1)
