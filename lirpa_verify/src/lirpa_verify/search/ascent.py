"""Bounds of a batch of subproblems, with slopes and multipliers optimised together.

Wang et al. 2021, "Beta-CROWN", section 3.3: the bound of a subproblem is maximised over the slopes of its relaxations (α)
and the multipliers of its splits (β) by projected gradient ascent. Every step's bound holds, so the search may be made
in another type and without an account of rounding; only the bound at what it found is computed with one.

A violation needs all its rows to be at most zero, so a convex combination of them that is positive excludes it; its
weights are optimised too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from lirpa_core.api import functional
from lirpa_core.linear import AffineForm, Interval
from lirpa_core.linear.coefficients import DenseCoefficients
from lirpa_core.methods import FreeSlope, Problem, Relax, Relaxations, Slopes, backward, with_slopes
from lirpa_verify.search.adam import Adam
from lirpa_verify.search.constraints import Constraints

#: Step sizes of slopes (their range is from 0 to 1), multipliers (in units of coefficients), logarithms of weights.
_RATES: Final = (0.1, 0.3, 0.3)
_DECAY: Final = 0.97


@dataclass(frozen=True, eq=False)
class Batch:
    """Subproblems in the form that bounds are computed in.

    Attributes:
        problem: The bound problem of `B` copies of the set.
        intervals: Bounds of all its nodes in the subproblems.
        rows: Rows of each one's violation, `[R, B, K]`.
        constants: Of the rows, `[R, B]`.
        constraints: The splits.
        relax: How nodes are relaxed with given slopes.
    """

    problem: Problem
    intervals: Mapping[str, Interval]
    rows: Tensor
    constants: Tensor
    constraints: Constraints
    relax: Callable[[Mapping[str, Slopes]], Relax] = with_slopes

    @property
    def output(self) -> str:
        """The node that the rows are over."""
        (name,) = functional.output_names(self.problem)
        return name


@dataclass(frozen=True, eq=False)
class Choice:
    """What a bound depends on; the bound holds whatever it is.

    Attributes:
        slopes: Free slopes by node name, as positions in their ranges.
        beta: Multipliers of the splits, `[B, D]`, not negative.
        weights: Logarithms of the rows' weights, `[B, R]`, before they are divided by their sum.
    """

    slopes: Mapping[str, tuple[FreeSlope, ...]]
    beta: Tensor
    weights: Tensor

    def variables(self) -> tuple[list[Tensor], Tensor, Tensor]:
        """Positions of slopes that have a choice, multipliers, weights."""
        positions = [v.position for variables in self.slopes.values() for v in variables if v.has_choice]
        return positions, self.beta, self.weights


def evaluate(batch: Batch, choice: Choice, at_nodes: Collection[str] = ()) -> tuple[Tensor, AffineForm]:
    """Lower bounds of the margins of each subproblem's violation, `[B]`, and the linear bounds behind them.

    Where rounding is accounted for, a bound that is not a number is minus infinity.

    Args:
        batch: The subproblems.
        choice: Slopes, multipliers and weights.
        at_nodes: Nodes whose coefficients are wanted.
    """
    problem = batch.problem
    slopes = {name: tuple([v.slope() for v in variables]) for name, variables in choice.slopes.items()}
    rows, constant = batch.rows, batch.constants[0]  # [R, B, K], [B]
    slack: Tensor | None = None
    if len(rows) > 1:
        weights = choice.weights.softmax(1).T
        if problem.outward:
            slack = _slack_of_weights(batch, weights)
        rows, constant = (
            (weights.unsqueeze(2) * rows).sum(0, keepdim=True),
            (weights * batch.constants).sum(0),
        )
    form = backward(
        problem,
        batch.output,
        DenseCoefficients(rows.reshape(1, -1, *problem.shape(batch.output))),
        Relaxations(problem, batch.intervals, batch.relax(slopes)),
        at_nodes=at_nodes,
        extra=batch.constraints.coefficients(choice.beta),
    )
    value = problem.minimum(form)[0] + constant
    value = value + batch.constraints.constant(choice.beta, outward=problem.outward)
    if slack is not None:
        value = value - slack
    return torch.where(value.isnan(), -torch.inf, value) if problem.outward else value, form


def _slack_of_weights(batch: Batch, weights: Tensor) -> Tensor:
    """How far rounded sums of weighted rows may be from exact ones with weights that add up to one, `[B]`."""
    box = batch.intervals[batch.output]
    largest = box.lower.abs().maximum(box.upper.abs()).reshape(1, -1, batch.rows.shape[2])  # [1, B or 1, K]
    sizes = (batch.rows.abs() * largest).sum(2) + batch.constants.abs()  # [R, B]
    factor = (4 * len(batch.rows) + 32) * torch.finfo(weights.dtype).eps
    return factor * sizes.amax(0)


def maximise(batch: Batch, start: Choice, iterations: int, enough: Tensor) -> Choice:
    """Projected gradient ascent from a choice; what was best for each subproblem.

    Args:
        batch: The subproblems.
        start: Where it begins; its variables are changed.
        iterations: Steps of the optimiser (Adam).
        enough: A bound that is good enough, `[B]`; the search stops once all are reached.
    """
    positions, beta, weights = start.variables()
    groups = [(positions, _RATES[0])]
    if beta.shape[1]:
        groups.append(([beta.requires_grad_()], _RATES[1]))
    if weights.shape[1] > 1:
        groups.append(([weights.requires_grad_()], _RATES[2]))
    leaves = [v for members, _ in groups for v in members]
    if not leaves:
        return start
    optimizer = Adam(leaves, [rate for members, rate in groups for _ in members], _DECAY)
    best: Tensor | None = None
    kept: list[Tensor] = []
    for step in range(iterations + 1):
        with torch.enable_grad():
            value, _ = evaluate(batch, start)
        found = value.detach()
        if best is None:
            best, kept = found, [v.detach().clone() for v in leaves]
        else:
            better = found > best
            best = torch.where(better, found, best)
            kept = [_replaced(old, v.detach(), better) for old, v in zip(kept, leaves, strict=True)]
        if step == iterations or not value.requires_grad or bool((best > enough).all()):
            break
        optimizer.step(torch.autograd.grad(value.sum(), leaves, allow_unused=True))
        with torch.no_grad():
            for position in positions:
                position.clamp_(0, 1)
            beta.clamp_(min=0)
    with torch.no_grad():
        for v, value in zip(leaves, kept, strict=True):
            v.copy_(value)
    return start


def _replaced(old: Tensor, new: Tensor, better: Tensor) -> Tensor:
    """The new values of those subproblems that are better, `[B]`."""
    return torch.where(better.reshape(-1, *[1] * (old.dim() - 1)), new, old)
