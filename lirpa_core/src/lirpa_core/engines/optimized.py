"""Backward bounds with optimised slopes: α-CROWN (Xu et al. 2021, "Fast and Complete"), for any curve.

A line is sound whatever its slope is, because its intercept follows from the slope. So the slopes
of all lines are free variables, and every step of an optimiser gives a bound that holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

from lirpa_core.bounds.interval import Interval
from lirpa_core.bounds.linear_map import LinearMap
from lirpa_core.bounds.relaxation import Relaxation
from lirpa_core.engines.backward import bound_rows
from lirpa_core.engines.problem import Problem
from lirpa_core.engines.relaxing import Relaxations
from lirpa_core.options import SlopeSearch
from lirpa_core.rules.call import Call

#: Slopes `(lower, upper)` of a node's lines, `[B, *S]` each.
Slopes: TypeAlias = tuple[Tensor, Tensor]


@runtime_checkable
class Sloped(Protocol):
    """A rule whose lines can be given slopes, as every rule of the unary family."""

    def loose(self, call: Call, inputs: tuple[Interval | None, ...]) -> tuple[Tensor | None, ...]:
        """Where the curve bends inside the box."""

    def slopes(self, call: Call, inputs: tuple[Interval | None, ...]) -> Slopes:
        """The slopes that `relax` chooses."""

    def relax_with(
        self, call: Call, inputs: tuple[Interval | None, ...], k_lo: Tensor, k_up: Tensor
    ) -> Relaxation:
        """The tightest lines of the given slopes."""


@dataclass(frozen=True, eq=False)
class SlopedRelaxations(Relaxations):
    """Relaxations with given slopes, where the rule can take some.

    Attributes:
        chosen: Slopes by node name.
    """

    chosen: Mapping[str, Slopes] = field(default_factory=dict)

    def relax(self, name: str) -> Relaxation:
        if name not in self.chosen:
            return super().relax(name)
        rule = self.problem.rule(name)
        assert isinstance(rule, Sloped)
        return rule.relax_with(self.problem.calls[name], self.inputs(name), *self.chosen[name])


def optimized_rows(
    problem: Problem,
    target: str,
    rows: LinearMap,
    intervals: Mapping[str, Interval],
    search: SlopeSearch,
    *,
    lower: bool = True,
    upper: bool = True,
    memory_budget: int | None = None,
) -> tuple[Tensor | None, Tensor | None]:
    """Concrete bounds of rows over a node, with slopes optimised for each side on its own.

    Args:
        problem: The problem.
        target: The node that the rows are over.
        rows: `R` rows.
        intervals: Bounds of the inner nodes; they stay as they are.
        search: Settings of the optimiser.
        lower: Whether lower bounds are wanted.
        upper: Whether upper bounds are wanted.
        memory_budget: Bytes that coefficients may take.

    Returns:
        Lower and upper bounds, `[R, B]` each: per row and example the best of all steps. Gradients
        flow through the bound at the best slopes found.
    """

    def side(signed: LinearMap) -> Tensor:
        return _maximize(problem, target, signed, intervals, search, memory_budget)

    return (side(rows) if lower else None), (-side(rows.negate()) if upper else None)


def _maximize(
    problem: Problem,
    target: str,
    rows: LinearMap,
    intervals: Mapping[str, Interval],
    search: SlopeSearch,
    memory_budget: int | None,
) -> Tensor:
    """The best lower bound found, `[R, B]`."""

    def bound(slopes: Mapping[str, Slopes], on: Mapping[str, Interval]) -> Tensor:
        relaxations = SlopedRelaxations(problem, on, chosen=slopes)
        value, _ = bound_rows(problem, target, rows, relaxations, upper=False, memory_budget=memory_budget)
        assert value is not None
        return value

    fixed = {name: interval.detach() for name, interval in intervals.items()}
    free = _free_slopes(Relaxations(problem, fixed), target)
    if not free:
        return bound({}, intervals)
    with torch.enable_grad():
        best, slopes = _climb(free, lambda chosen: bound(chosen, fixed), search)
    return bound(slopes, intervals).maximum(best)


@dataclass(frozen=True, eq=False)
class _Free:
    """The slopes of one node's lines: variables where the curve bends, the rule's own elsewhere."""

    default: Slopes
    variables: Slopes
    bent: Tensor

    def chosen(self) -> Slopes:
        low, up = (torch.where(self.bent, v, d) for v, d in zip(self.variables, self.default, strict=True))
        return low, up


def _free_slopes(relaxations: Relaxations, target: str) -> dict[str, _Free]:
    """Variables for all nodes on the way to the target, at their rules' default slopes."""
    problem = relaxations.problem
    needed = problem.ancestors(target)
    free: dict[str, _Free] = {}
    for name, call in problem.calls.items():
        rule, shape = problem.rule(name), (problem.batch, *problem.shape(name))
        if name not in needed or not isinstance(rule, Sloped) or call.shapes != (call.shape,):
            continue
        inputs = relaxations.inputs(name)
        (bent,) = rule.loose(call, inputs)
        if bent is None:
            continue
        low, up = (k.detach().expand(shape) for k in rule.slopes(call, inputs))
        variables = (low.clone().requires_grad_(), up.clone().requires_grad_())
        free[name] = _Free((low, up), variables, bent)
    return free


def _climb(
    free: Mapping[str, _Free], bound: Callable[[Mapping[str, Slopes]], Tensor], search: SlopeSearch
) -> tuple[Tensor, dict[str, Slopes]]:
    """Gradient ascent on the sum of the bounds; every step's bounds hold, so the best of each counts.

    Returns:
        The best bounds `[R, B]`, and the slopes of the step with the best sum, without gradient.
    """
    variables = [k for node in free.values() for k in node.variables]
    optimizer = torch.optim.Adam(variables, lr=search.lr_alpha)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, search.lr_decay)
    best: Tensor | None = None
    slopes: dict[str, Slopes] = {}
    highest = -math.inf
    for step in range(search.iteration + 1):
        chosen = {name: node.chosen() for name, node in free.items()}
        value = bound(chosen)
        best = value.detach() if best is None else best.maximum(value.detach())
        total = float(value.detach().sum())
        if total > highest:
            highest = total
            slopes = {name: (low.detach(), up.detach()) for name, (low, up) in chosen.items()}
        if step < search.iteration:
            optimizer.zero_grad()
            (-value.sum()).backward(inputs=variables)
            optimizer.step()
            schedule.step()
    assert best is not None
    return best, slopes
