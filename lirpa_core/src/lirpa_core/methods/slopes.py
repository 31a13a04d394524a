"""Slopes as free variables: relaxations with given slopes, and the search for the best ones.

A line is sound whatever its slope is, because its intercept follows from the slope. So the slopes of all lines are
free variables, and every step of an optimiser gives a bound that holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.relaxation import Relaxation
from lirpa_core.methods.slope_search import SlopeSearch
from lirpa_core.problem.problem import Problem
from lirpa_core.problem.relaxations import Relax, Relaxations, by_rule
from lirpa_core.progress import OutOfTime
from lirpa_core.rules.base import Slope

#: Values of the slopes of a node's relaxation, one tensor `[B, *P]` for each that its rule states.
Slopes: TypeAlias = tuple[Tensor, ...]


def with_slopes(chosen: Mapping[str, Slopes]) -> Relax:
    """Relaxations with given slopes by node name, and the rules' own for all other nodes."""

    def relax(problem: Problem, name: str, inputs: tuple[Interval | None, ...]) -> Relaxation:
        if name not in chosen:
            return by_rule(problem, name, inputs)
        return problem.rules[name].relax_with(problem.calls[name], inputs, chosen[name])

    return relax


@dataclass(frozen=True, eq=False)
class FreeSlope:
    """One slope of every element of a node, as a position in the range worth a try.

    Attributes:
        default: The rule's own slope `[B, *P]`, kept where the range is a single slope.
        least: Lower end of the range.
        span: Its length; zero where there is nothing to choose.
        position: The variable, from 0 to 1; it requires a gradient only if some element has a choice, as the line above
            a ReLU has not.
    """

    default: Tensor
    least: Tensor
    span: Tensor
    position: Tensor

    @classmethod
    def of(cls, slope: Slope, batch: int) -> FreeSlope:
        """A variable that starts at the rule's own slope."""
        shape = (batch, *slope.start.shape[1:])
        default, least, greatest = (
            k.detach().expand(shape) for k in (slope.start, slope.least, slope.greatest)
        )
        least, greatest = least.minimum(default), greatest.maximum(default)
        span = torch.where((greatest - least).isfinite(), greatest - least, 0)
        position = torch.where(span > 0, (default - least) / torch.where(span > 0, span, 1), 0)
        return cls(default, least, span, position.requires_grad_(bool((span > 0).any())))

    @property
    def has_choice(self) -> bool:
        """Whether there is anything to choose."""
        return self.position.requires_grad

    def slope(self) -> Tensor:
        """The slope at the present position, `[B, *P]`."""
        if not self.has_choice:
            return self.default
        return torch.where(self.span > 0, self.least + self.span * self.position, self.default)


def free_slopes(
    problem: Problem, intervals: Mapping[str, Interval], node: str
) -> dict[str, tuple[FreeSlope, ...]]:
    """Variables for all operators on the way to a node, at their rules' default slopes.

    Args:
        problem: The problem.
        intervals: Intervals of the nodes that rules read, without gradients.
        node: The node.
    """
    relaxations = Relaxations(problem, intervals)
    needed = problem.ancestors(node)
    free: dict[str, tuple[FreeSlope, ...]] = {}
    for name, call in problem.calls.items():
        if name not in needed:
            continue
        slopes = problem.rules[name].slopes(call, relaxations.operand_intervals(name))
        variables = tuple(FreeSlope.of(slope, problem.batch) for slope in slopes)
        if any(variable.has_choice for variable in variables):
            free[name] = variables
    return free


def climb(
    free: Mapping[str, tuple[FreeSlope, ...]],
    bound: Callable[[Mapping[str, Slopes]], Tensor],
    search: SlopeSearch,
    told: Callable[[float], None] = lambda share: None,
) -> tuple[Tensor, dict[str, Slopes]]:
    """Gradient ascent on the sum of the bounds; every step's bounds hold, so the best of each counts.

    Args:
        free: The variables, by node name.
        bound: Lower bounds `[R, B]` for given slopes.
        search: Settings.
        told: Is told after each step which share of the steps is done; `OutOfTime` from it ends the search.

    Returns:
        The best bounds `[R, B]`, and the slopes that gave them, without gradient: those of each row
        and example's best step, or where slopes are shared, those of the step with the best sum.
    """
    positions = [v.position for variables in free.values() for v in variables if v.has_choice]
    optimizer = torch.optim.Adam(positions, lr=search.lr_alpha)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, search.lr_decay)
    best: Tensor | None = None
    record = torch.empty(0)  # the bounds that `kept` gives
    kept: dict[str, Slopes] = {}
    for step in range(search.iteration + 1):
        chosen = {name: tuple([v.slope() for v in variables]) for name, variables in free.items()}
        value = bound(chosen)
        found = value.detach()
        if best is None:
            best = record = found
            kept = {name: tuple([_fixed(slope) for slope in slopes]) for name, slopes in chosen.items()}
        else:
            best = best.maximum(found)
            better = (found.sum() > record.sum()).reshape(1, 1) if search.use_shared_alpha else found > record
            record = torch.where(better, found, record)
            kept = {name: _replaced(kept[name], chosen[name], better.flatten()) for name in kept}
        if step == search.iteration or not value.requires_grad:
            break  # where no bound depends on a slope there is nothing to climb
        try:
            told((step + 1) / (search.iteration + 1))
        except OutOfTime:
            break
        optimizer.zero_grad()
        (-value.sum()).backward(inputs=positions)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            for position in positions:
                position.clamp_(0, 1)
    assert best is not None
    return best, kept


def _fixed(slope: Tensor) -> Tensor:
    """A slope without gradient; the same object where it had none."""
    return slope.detach() if slope.requires_grad else slope


def _replaced(old: Slopes, new: Slopes, better: Tensor) -> Slopes:
    """The new slopes of those examples that are better, `[B]` or `[1]`."""
    return tuple(
        [
            o if n is o else torch.where(better.reshape(-1, *[1] * (o.dim() - 1)), n.detach(), o)
            for n, o in zip(new, old, strict=True)
        ]
    )
