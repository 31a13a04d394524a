"""Relaxations for the search, which has the same neurons relaxed again and again with other slopes.

Of a ReLU only the slope of the lower line moves, and that line passes through zero; everything else is worked out once
for a batch. Bounds that are kept never come from here: they are computed by the core's rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch

from lirpa_core.linear import Affine, Interval, Relaxation
from lirpa_core.linear.operators import Diagonal
from lirpa_core.methods import FreeSlope, Problem, Relax, Relaxations, Slopes, by_rule, with_slopes

_RELU: Final = "aten.relu.default"


@dataclass(frozen=True, eq=False)
class QuickLines:
    """What does not move while the slopes of a batch do.

    Attributes:
        free: The slopes that move, by node name.
        upper: The upper lines of ReLUs, by node name.
    """

    free: Mapping[str, tuple[FreeSlope, ...]]
    upper: Mapping[str, Affine]

    @classmethod
    def of(cls, problem: Problem, intervals: Mapping[str, Interval], node: str) -> QuickLines:
        """The lines on given intervals of everything on the way to a node."""
        relaxations = Relaxations(problem, intervals)
        needed = problem.ancestors(node)
        free: dict[str, tuple[FreeSlope, ...]] = {}
        upper: dict[str, Affine] = {}
        for name, call in problem.calls.items():
            if name not in needed:
                continue
            if str(call.node.target) == _RELU:
                (box,) = relaxations.operand_intervals(name)
                assert box is not None
                free[name], upper[name] = _of_relu(box, problem)
            else:
                slopes = problem.rules[name].slopes(call, relaxations.operand_intervals(name))
                variables = tuple(FreeSlope.of(slope, problem.batch) for slope in slopes)
                if any(bool((v.span > 0).any()) for v in variables):
                    free[name] = variables
        return cls(free, upper)

    def with_slopes(self, chosen: Mapping[str, Slopes]) -> Relax:
        """Relaxations with given slopes by node name."""
        by_core = with_slopes(chosen)

        def relax(problem: Problem, name: str, inputs: tuple[Interval | None, ...]) -> Relaxation:
            if name not in self.upper:
                return by_core(problem, name, inputs) if name in chosen else by_rule(problem, name, inputs)
            (slope,) = chosen[name]
            return Relaxation(Affine((Diagonal(slope, problem.shape(name)),)), self.upper[name])

        return relax


def _of_relu(box: Interval, problem: Problem) -> tuple[tuple[FreeSlope, ...], Affine]:
    """The slope below, free from 0 to 1 where the sign is open; and the chord above."""
    shape = box.lower.shape[1:]
    low, high = box.lower.expand(problem.batch, *shape), box.upper.expand(problem.batch, *shape)
    unstable = (low < 0) & (high > 0)
    active = (low >= 0).to(low.dtype)
    start = torch.where(unstable, (high > -low).to(low.dtype), active)
    chord = torch.where(unstable, high / (high - low), active)
    bias = torch.where(unstable, -low * chord, 0)
    slope = FreeSlope(start, torch.zeros_like(start), unstable.to(low.dtype), start.clone().requires_grad_())
    return (slope,), Affine((Diagonal(chord, tuple(shape)),), bias)
