"""Interval bound propagation (Gowal et al. 2018; Mirman et al. 2018)."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from lirpa_core.linear.coefficients import Coefficients
from lirpa_core.linear.interval import Interval
from lirpa_core.methods.base import IntermediateBounds, Method, RowBounds
from lirpa_core.methods.rows import bound_rows, every_element, rows_of_interval, rows_over_interval, tighter
from lirpa_core.methods.traversal import intervals
from lirpa_core.problem.problem import Problem
from lirpa_core.problem.relaxations import Relaxations


@dataclass(frozen=True)
class IBP(Method):
    """Sends intervals through the network.

    A node that is affine in a perturbed input is bounded by the minimum of its linear form over the input's set,
    wherever that is tighter than propagating the set's box hull: an L2 or L1 ball is not its box (cf. Gowal et al.
    2018, sec. 3, for the first layer under L∞). A product with a weight in such a set is bounded around it, see `around_sets`. Rows over the output go through the affine operators at the end
    exactly.
    """

    name = "IBP"
    summary = "interval arithmetic; cheapest, loosest"
    gives_linear_bounds = False

    def intermediate_bounds(
        self,
        problem: Problem,
        wanted: Collection[str] = (),
        given: Mapping[str, Interval] | None = None,
        memory_budget: int | None = None,
    ) -> IntermediateBounds:
        found: dict[str, Interval] = {}
        todo = _to_bound_exactly(problem, wanted)
        if not todo:
            return IntermediateBounds(intervals(problem, given, None, found))

        def refine(name: str) -> None:
            for operand in problem.calls[name].operands:
                if operand in todo:
                    todo.discard(operand)
                    found[operand] = found[operand].intersect(
                        _exactly(problem, operand, found, memory_budget)
                    )

        intervals(problem, given, refine, found)
        for name in list(todo):
            found[name] = found[name].intersect(_exactly(problem, name, found, memory_budget))
        return IntermediateBounds(found)

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
        if rows is None:
            simple = rows_of_interval(inner.intervals[node], problem.batch)
            return RowBounds(simple.lower if lower else None, simple.upper if upper else None)
        relaxations = Relaxations(problem, inner.intervals)
        stop_at = problem.calls.keys() - problem.facts.affine_operators
        found = bound_rows(
            problem, node, rows, relaxations,
            lower=lower, upper=upper, memory_budget=memory_budget, stop_at=stop_at,
        )  # fmt: skip
        return tighter(found, rows_over_interval(problem, node, rows, inner.intervals[node]))


def _to_bound_exactly(problem: Problem, wanted: Collection[str]) -> set[str]:
    """Affine nodes behind a set that is not a box, where somebody needs their interval.

    What only rearranges another node has exact intervals where that one has. So a linear layer whose output is
    cut into steps or heads is bounded once, unless the cuts are less than half of it.
    """
    if all([member.is_box for member in problem.inputs.values()]):
        return set()
    affine = problem.facts.affine - problem.inputs.keys()
    users = {o for name, call in problem.calls.items() if name not in affine for o in call.operands}
    parts: dict[str, list[str]] = {}
    for name in affine & (users | set(wanted)):
        parts.setdefault(_rearranged(problem, name), []).append(name)
    exact: set[str] = set()
    for source, names in parts.items():
        needed = sum(math.prod(problem.shape(name)) for name in names)
        if source in problem.inputs:
            continue  # whose hull is exact
        exact.update([source] if math.prod(problem.shape(source)) <= 2 * needed else names)
    return exact


def _rearranged(problem: Problem, name: str) -> str:
    """The node that a node is a rearrangement of; often itself."""
    while name in problem.calls:
        operands = problem.calls[name].operands
        if not problem.rules[name].selects or len(operands) != 1:
            break
        (name,) = operands
    return name


def _exactly(
    problem: Problem, name: str, found: Mapping[str, Interval], memory_budget: int | None
) -> Interval:
    shape = problem.shape(name)
    rows = every_element(problem, name)
    bounds = bound_rows(problem, name, rows, Relaxations(problem, found), memory_budget=memory_budget)
    assert bounds.lower is not None and bounds.upper is not None
    return Interval(
        bounds.lower.T.reshape(bounds.lower.shape[1], *shape),
        bounds.upper.T.reshape(bounds.upper.shape[1], *shape),
    )
