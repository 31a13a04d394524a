"""Interval bound propagation (Gowal et al. 2018; Mirman et al. 2018)."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from lirpa_core.linear.coefficients import SelectedRows
from lirpa_core.linear.interval import Interval
from lirpa_core.methods.backward import bound_rows
from lirpa_core.problem.problem import Problem, affine_nodes
from lirpa_core.problem.relaxations import Relaxations


def interval_bounds(
    problem: Problem,
    wanted: Collection[str] = (),
    given: Mapping[str, Interval] | None = None,
    memory_budget: int | None = None,
) -> dict[str, Interval]:
    """Interval bounds of every perturbed node.

    A node that is affine in a perturbed leaf is bounded by the minimum of its linear form over the
    leaf's set, wherever that is tighter than propagating the set's box hull: an L2 or L1 ball is
    not its box (cf. Gowal et al. 2018, sec. 3, for the first layer under L∞).

    Args:
        problem: The problem.
        wanted: Nodes whose bounds are the result; affine ones among them are bounded exactly.
        given: Sound intervals to intersect with, by node name.
        memory_budget: Bytes that rows of coefficients may take; default from free memory.

    Returns:
        Intervals by node name, leaves included; `[B, *S]`.
    """
    given = given or {}
    intervals = problem.hulls()
    exact = _to_bound_exactly(problem, wanted)
    for name, call in problem.calls.items():
        interval = problem.rule(name).interval(call, tuple(intervals[o] for o in call.operands))
        if name in exact:
            interval = interval.intersect(_exact(problem, name, intervals, memory_budget))
        if name in given:
            interval = interval.intersect(given[name])
        intervals[name] = interval
    return intervals


def _to_bound_exactly(problem: Problem, wanted: Collection[str]) -> frozenset[str]:
    """Affine nodes behind a set that is not a box, where somebody needs their interval.

    What only rearranges another node has exact intervals where that one has. So a linear layer whose output is
    cut into steps or heads is bounded once, unless the cuts are less than half of it.
    """
    if all(leaf.is_box for leaf in problem.leaves.values()):
        return frozenset()
    affine = affine_nodes(problem) - problem.leaves.keys()
    users = {o for name, call in problem.calls.items() if name not in affine for o in call.operands}
    parts: dict[str, list[str]] = {}
    for name in affine & (users | set(wanted)):
        parts.setdefault(_rearranged(problem, name), []).append(name)
    exact: set[str] = set()
    for source, names in parts.items():
        needed = sum(math.prod(problem.shape(name)) for name in names)
        if source in problem.leaves:
            continue  # whose hull is exact
        exact.update([source] if math.prod(problem.shape(source)) <= 2 * needed else names)
    return frozenset(exact)


def _rearranged(problem: Problem, name: str) -> str:
    """The node that a node is a rearrangement of; often itself."""
    while name in problem.calls:
        operands = problem.calls[name].operands
        if not problem.rule(name).selects or len(operands) != 1:
            break
        (name,) = operands
    return name


def _exact(
    problem: Problem, name: str, intervals: Mapping[str, Interval], memory_budget: int | None
) -> Interval:
    shape = problem.shape(name)
    rows = SelectedRows.identity(shape, dtype=problem.dtype_of(name), device=problem.device)
    lower, upper = bound_rows(
        problem, name, rows, Relaxations(problem, intervals), memory_budget=memory_budget
    )
    assert lower is not None and upper is not None
    return Interval(lower.T.reshape(-1, *shape), upper.T.reshape(-1, *shape))
