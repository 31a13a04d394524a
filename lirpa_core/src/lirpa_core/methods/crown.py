"""CROWN: backward linear bounds (Zhang et al. 2018), on general graphs (Xu et al. 2020)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch

from lirpa_core.devices import is_traced
from lirpa_core.linear.coefficients import Coefficients, SelectedRows
from lirpa_core.linear.interval import Interval
from lirpa_core.methods.base import IntermediateBounds, Method, RowBounds
from lirpa_core.methods.rows import (
    bound_rows,
    every_element,
    linear_row_bounds,
    rows_of_interval,
    rows_over_interval,
    tighter,
)
from lirpa_core.methods.screening import Screening
from lirpa_core.methods.tightening import tightened_intervals
from lirpa_core.methods.together import Together
from lirpa_core.methods.traversal import intervals
from lirpa_core.problem.problem import Problem
from lirpa_core.problem.relaxations import Relax, Relaxations, by_rule


@dataclass(frozen=True)
class CROWN(Method):
    """Backward passes everywhere: for the output, and for inner neurons that cheaper bounds leave unstable.

    Every node first gets the interval that follows from its operands. Before a nonlinear operator is relaxed, the
    elements of its operands that the rule calls unstable (a ReLU that may be active or not, say) are bounded by a
    backward pass with just their rows, each example its own.

    Attributes:
        relax: How a node is relaxed; default: as its rule chooses. A method with lines of its own replaces it.
        screening: Whether parallel lines decide neurons first, where no gradients are recorded and there are many of them
            (see `methods.screening`): up to twice as fast on large networks. They decide what full rows would decide too.
            Intervals of neurons that are always active are then wider than without, which only interval arithmetic on
            them can tell.
    """

    relax: Relax = by_rule
    screening: bool = True

    name = "CROWN"
    aliases = ("backward",)
    summary = "backward passes everywhere"

    def intermediate_bounds(
        self,
        problem: Problem,
        wanted: Collection[str] = (),
        given: Mapping[str, Interval] | None = None,
        memory_budget: int | None = None,
    ) -> IntermediateBounds:
        found: dict[str, Interval] = {}
        relaxations = Relaxations(problem, found, self.relax)

        def bound(name: str, rows: SelectedRows) -> RowBounds:
            return bound_rows(problem, name, rows, relaxations, memory_budget=memory_budget)

        screens = self.screening and not torch.is_grad_enabled() and not is_traced()
        screen = Screening(problem, found, memory_budget) if screens else None
        refine = tightened_intervals(problem, given, relaxations, bound, found, screen)
        intervals(problem, given, refine, found)
        return IntermediateBounds(found, relaxations=relaxations, recorded=torch.is_grad_enabled())

    def bound_rows(
        self,
        problem: Problem,
        node: str,
        inner: IntermediateBounds,
        rows: Coefficients | None = None,
        *,
        lower: bool = True,
        upper: bool = True,
        linear_bounds: bool = False,
        memory_budget: int | None = None,
    ) -> RowBounds:
        relaxations = self._relaxations(problem, node, inner)
        chosen = every_element(problem, node) if rows is None else rows
        if linear_bounds:
            found = linear_row_bounds(problem, node, chosen, relaxations, lower=lower, upper=upper)
        else:
            found = bound_rows(
                problem, node, chosen, relaxations, lower=lower, upper=upper, memory_budget=memory_budget
            )
        return tighter(found, interval_of_rows(problem, node, inner, rows))

    def _relaxations(self, problem: Problem, node: str, inner: IntermediateBounds) -> Relaxations:
        known = inner.relaxations
        if (
            known is not None
            and (inner.recorded or not torch.is_grad_enabled())
            and known.problem is problem
            and known.relax is self.relax
        ):
            return known
        if self.relax is not by_rule:
            return Relaxations(problem, inner.intervals, self.relax)
        return Relaxations(problem, inner.intervals, Together(inner.intervals, problem.ancestors(node)))


def interval_of_rows(
    problem: Problem, node: str, inner: IntermediateBounds, rows: Coefficients | None
) -> Interval:
    """What the interval of a node says about rows over it, `[R, B]`; None for rows: every element."""
    interval = inner.intervals[node]
    if rows is None:
        return rows_of_interval(interval, problem.batch)
    return rows_over_interval(problem, node, rows, interval)
