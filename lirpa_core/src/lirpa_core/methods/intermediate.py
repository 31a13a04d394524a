"""Intermediate bounds by backward passes, for the neurons that cheaper bounds leave open."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from lirpa_core.api.options import SlopeSearch
from lirpa_core.linear.coefficients import SelectedRows
from lirpa_core.linear.coefficients.base import flatten
from lirpa_core.linear.interval import Interval
from lirpa_core.methods.backward import bound_rows
from lirpa_core.methods.optimized import optimized_rows
from lirpa_core.problem.problem import Problem, iter_needed
from lirpa_core.problem.relaxations import Relaxations


def backward_intervals(
    problem: Problem,
    given: Mapping[str, Interval] | None = None,
    memory_budget: int | None = None,
    search: SlopeSearch | None = None,
) -> dict[str, Interval]:
    """Intervals of every perturbed node, tightened by CROWN wherever a relaxation can profit.

    Every node first gets the interval that follows from its operands. Before a nonlinear operator
    is relaxed, the elements of its operands that the rule calls unstable (a ReLU that may be active or
    not, say) are bounded by a backward pass with just their rows, each example its own.

    Args:
        problem: The problem.
        given: Sound intervals to intersect with; a node given here is not tightened further.
        memory_budget: Bytes that coefficients may take.
        search: How to optimise the slopes of these passes; default: they are the rules' own.

    Returns:
        Intervals by node name, `[B, *S]`.
    """
    given = given or {}
    intervals = problem.hulls()
    relaxations = Relaxations(problem, intervals)

    def bounded(name: str, rows: SelectedRows) -> Interval:
        if search is None:
            lower, upper = bound_rows(problem, name, rows, relaxations, memory_budget=memory_budget)
        else:
            lower, upper = optimized_rows(problem, name, rows, intervals, search, memory_budget=memory_budget)
        assert lower is not None and upper is not None
        return Interval(lower, upper)

    done: dict[str, Tensor | None] = {}
    for name, call in problem.calls.items():
        inputs = dict(iter_needed(problem, name))
        for slot, operand in inputs.items():
            if operand in problem.leaves or operand in problem.interval_exact or operand in given:
                continue
            current = tuple(intervals[o] if i in inputs else None for i, o in enumerate(call.operands))
            mask = problem.rule(name).unstable_inputs(call, current)[slot]
            if _tighten(problem, operand, mask, intervals, done, bounded):
                relaxations.forget(frozenset(n for n, c in problem.calls.items() if operand in c.operands))
        interval = problem.rule(name).interval(call, tuple(intervals[o] for o in call.operands))
        intervals[name] = interval.intersect(given[name]) if name in given else interval
    return intervals


def _tighten(
    problem: Problem,
    name: str,
    mask: Tensor | None,
    intervals: dict[str, Interval],
    done: dict[str, Tensor | None],
    bounded: Callable[[str, SelectedRows], Interval],
) -> bool:
    """Bound the masked elements of one node by a backward pass; False if there is nothing to do."""
    if mask is None or (name in done and done[name] is None):
        return False
    shape = problem.shape(name)
    old = intervals[name]
    if name in problem.affine:  # rows are shared by all examples until the leaf: take them all
        rows = SelectedRows.identity(shape, dtype=problem.dtype_of(name), device=problem.device)
        done[name] = None
    else:
        before = done.get(name)
        todo = mask if before is None else mask & ~before
        done[name] = mask if before is None else mask | before
        index = _open_rows(flatten(todo, 1))
        if index is None:
            return False
        rows = SelectedRows.select(index, shape, dtype=problem.dtype_of(name))
    found = bounded(name, rows)
    intervals[name] = old.intersect(_scatter(old, rows.index, found.lower, found.upper))
    return True


def _open_rows(mask: Tensor) -> Tensor | None:
    """Positions of the marked elements of each example, `[R, B]`, padded with unmarked ones.

    `R` is the largest count of any example; the one place where an engine waits for the device.
    """
    count = int(mask.sum(1).max())
    if count == 0:
        return None
    order = mask.to(torch.uint8).argsort(dim=1, descending=True, stable=True)  # [B, n]
    return order[:, :count].T


def _scatter(old: Interval, index: Tensor, lower: Tensor, upper: Tensor) -> Interval:
    batch = max(old.lower.shape[0], lower.shape[1])
    index = index.T.expand(batch, -1)

    def place(into: Tensor, values: Tensor) -> Tensor:
        whole = into.expand(batch, *into.shape[1:])
        return (
            flatten(whole, 1)
            .scatter(1, index, values.T.expand(batch, -1).to(into.dtype))
            .reshape(whole.shape)
        )

    return Interval(place(old.lower, lower), place(old.upper, upper))
