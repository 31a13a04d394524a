"""Bounds of rows over a node by a backward pass, in chunks that fit the memory budget."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor

from lirpa_core.linear.coefficients import Coefficients, SelectedRows
from lirpa_core.linear.coefficients.base import flatten
from lirpa_core.linear.interval import Interval
from lirpa_core.methods.base import RowBounds
from lirpa_core.methods.memory import chunks_of_rows
from lirpa_core.methods.traversal import Refine, backward
from lirpa_core.problem.problem import Problem
from lirpa_core.problem.relaxations import Relaxations


def bound_rows(
    problem: Problem,
    node: str,
    rows: Coefficients,
    relaxations: Relaxations,
    *,
    lower: bool = True,
    upper: bool = True,
    memory_budget: int | None = None,
    stop_at: Collection[str] = (),
) -> RowBounds:
    """Concrete bounds of rows over a node, in chunks that fit the memory budget.

    Args:
        problem: The problem.
        node: The node.
        rows: `R` rows, `[R, B or 1, *S]`.
        relaxations: Relaxations of the operators on the way.
        lower: Whether lower bounds are wanted.
        upper: Whether upper bounds are wanted.
        memory_budget: Bytes that coefficients may take.
        stop_at: Nodes whose intervals are used in place of relaxations.
    """
    lowers: list[Tensor] = []
    uppers: list[Tensor] = []
    both = lower and upper

    def size_of(row: Coefficients) -> int:
        """Numbers of one row where it has most; found apart, lest relaxations without gradients be used later."""
        most = [1]
        with torch.no_grad():
            apart = relaxations.apart()
            backward(
                problem, node, row, apart, both=both, stop_at=stop_at, watch=lambda A: most.append(A.numel)
            )
        return max(most)

    for part in chunks_of_rows(problem, rows, memory_budget, size_of):
        start = part if lower else part.negate()
        form = backward(problem, node, start, relaxations, both=both, stop_at=stop_at)
        value = problem.minimum(form, relaxations.intervals)
        if lower:
            lowers.append(value[: part.rows])
        if upper:
            uppers.append(-value[-part.rows :])
    return RowBounds(_joined(lowers), _joined(uppers))


def linear_row_bounds(
    problem: Problem, node: str, rows: Coefficients, relaxations: Relaxations, *, lower: bool, upper: bool
) -> RowBounds:
    """Bounds of rows over a node together with the linear bounds that they come from."""
    low = backward(problem, node, rows, relaxations) if lower else None
    up = backward(problem, node, rows.negate(), relaxations) if upper else None
    return RowBounds(
        None if low is None else problem.minimum(low), None if up is None else -problem.minimum(up), low, up
    )


def _joined(parts: list[Tensor]) -> Tensor | None:
    return None if not parts else parts[0] if len(parts) == 1 else torch.cat(parts)


#: `(node, rows) -> their bounds`, for `tightened_intervals`.
BoundSelected = Callable[[str, SelectedRows], RowBounds]


def tightened(
    problem: Problem,
    name: str,
    mask: Tensor | None,
    interval: Interval,
    done: dict[str, Tensor | None],
    bound: BoundSelected,
) -> Interval | None:
    """Bound the marked elements of one node by backward passes; None if there is nothing to do.

    Args:
        problem: The problem.
        name: The node.
        mask: Which elements are worth it, `[B, *S]`; None: none.
        interval: What is known so far.
        done: What has been bounded before, by node; None: everything. Updated.
        bound: Bounds selected elements.
    """
    if mask is None or (name in done and done[name] is None):
        return None
    shape = problem.shape(name)
    if name in problem.facts.affine:  # rows are shared by all examples up to the input: take them all
        rows = SelectedRows.identity(shape, dtype=problem.dtype_of(name), device=problem.device)
        done[name] = None
    else:
        before = done.get(name)
        todo = mask if before is None else mask & ~before
        done[name] = mask if before is None else mask | before
        index = _marked_rows(flatten(todo, 1))
        if index is None:
            return None
        rows = SelectedRows.select(index, shape, dtype=problem.dtype_of(name))
    found = bound(name, rows)
    assert found.lower is not None and found.upper is not None
    return interval.intersect(_scatter(interval, rows.index, found.lower, found.upper))


def _marked_rows(mask: Tensor) -> Tensor | None:
    """Positions of the marked elements of each example, `[R, B]`, padded with unmarked ones.

    `R` is the largest count of any example; the one place where a method waits for the device.
    """
    count = int(mask.sum(1).max())
    if count == 0:
        return None
    order = mask.to(torch.uint8).argsort(dim=1, descending=True, stable=True)  # [B, n]
    return order[:, :count].T


def _scatter(old: Interval, index: Tensor, lower: Tensor, upper: Tensor) -> Interval:
    batch = max(old.lower.shape[0], lower.shape[1])
    index = index.T.expand(batch, -1)

    def put(into: Tensor, values: Tensor) -> Tensor:
        every = into.expand(batch, *into.shape[1:])
        values = values.T.expand(batch, -1).to(into.dtype)
        return flatten(every, 1).scatter(1, index, values).reshape(every.shape)

    return Interval(put(old.lower, lower), put(old.upper, upper))


def tightened_intervals(
    problem: Problem,
    given: Mapping[str, Interval] | None,
    relaxations: Relaxations,
    bound: BoundSelected,
    found: dict[str, Interval],
) -> Refine:
    """What to refine before each operator: those elements of its operands that its rule calls unstable.

    Args:
        problem: The problem.
        given: Sound intervals that the user brought; their nodes are not tightened further.
        relaxations: Relaxations that have to be forgotten where an interval becomes tighter.
        bound: Bounds selected elements of a node.
        found: The intervals so far, which `relaxations` reads.
    """
    done: dict[str, Tensor | None] = {}
    facts = problem.facts

    def refine(name: str) -> None:
        needs = facts.needs_interval[name]
        call = problem.calls[name]
        for slot, operand in enumerate(call.operands):
            known = operand in problem.inputs or operand in facts.interval_exact or operand in (given or {})
            if known or not needs[slot]:
                continue
            masks = problem.rules[name].unstable_inputs(call, relaxations.operand_intervals(name))
            better = tightened(problem, operand, masks[slot], found[operand], done, bound)
            if better is not None:
                found[operand] = better
                relaxations.forget(facts.users[operand])

    return refine
