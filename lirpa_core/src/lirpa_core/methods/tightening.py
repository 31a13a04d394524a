"""Tighter intervals of those elements of inner nodes that a relaxation could profit from, by rows over these."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from lirpa_core.devices import is_traced
from lirpa_core.linear.coefficients import SelectedRows
from lirpa_core.linear.coefficients.base import flatten
from lirpa_core.linear.interval import Interval
from lirpa_core.methods.base import RowBounds
from lirpa_core.methods.traversal import Refine
from lirpa_core.problem.problem import Problem
from lirpa_core.problem.relaxations import Relaxations
from lirpa_core.progress import OutOfTime

#: `(node, rows) -> their bounds`, for `tightened_intervals`; None: they would be no tighter than what is known.
BoundSelected = Callable[[str, SelectedRows], RowBounds | None]


class Screen(Protocol):
    """Cheap bounds that may leave fewer elements to be bounded."""

    def __call__(self, node: str, elements: Tensor, interval: Interval) -> tuple[Interval, Tensor]:
        """A node's interval and elements to be bounded, tighter and fewer."""

    def learn(self, node: str, by_rows: Interval) -> None:
        """Is told what rows say about a node; elements without rows are as they were known."""


def tightened(
    problem: Problem,
    name: str,
    mask: Tensor | None,
    interval: Interval,
    done: dict[str, Tensor | None],
    bound: BoundSelected,
    screen: Screen | None = None,
    most: int | None = None,
) -> Interval | None:
    """Bound the marked elements of one node by backward passes; None if there is nothing to do.

    Args:
        problem: The problem.
        name: The node.
        mask: Which elements are worth it, `[B, *S]`; None: none.
        interval: What is known so far.
        done: What has been bounded before, by node; None: everything. Updated.
        bound: Bounds selected elements.
        screen: Decides elements cheaply.
        most: How many elements of an example are bounded at most, those of the widest intervals; default: all.
    """
    if mask is None or (name in done and done[name] is None):
        return None
    shape = problem.shape(name)
    todo: Tensor | None = None
    if name in problem.facts.affine:  # rows are shared by all examples up to the input: take them all
        rows = SelectedRows.identity(shape, dtype=problem.dtype_of(name), device=problem.device)
        done[name] = None
    elif is_traced():  # how many are marked is not known
        rows = SelectedRows.identity(shape, dtype=problem.dtype_of(name), device=problem.device)
        todo, done[name] = mask, None
    else:
        before = done.get(name)
        if screen is not None:
            interval, mask = screen(name, mask, interval)
        todo = mask if before is None else mask & ~before
        done[name] = mask if before is None else mask | before
        if most is not None:
            todo = _widest(todo, interval, most)
        index = marked_rows(flatten(todo, 1))
        if index is None:
            return None if screen is None else interval
        rows = SelectedRows.select(index, shape, dtype=problem.dtype_of(name))
    found = bound(name, rows)
    if found is None:
        return None if screen is None else interval
    assert found.lower is not None and found.upper is not None
    by_rows = _scatter(interval, rows.index, found.lower, found.upper)
    if todo is not None:  # rows that pad others' say nothing, lest bounds depend on the rest of the batch
        by_rows = Interval(
            torch.where(todo, by_rows.lower, interval.lower), torch.where(todo, by_rows.upper, interval.upper)
        )
    if screen is not None:
        screen.learn(name, by_rows)
    return interval.intersect(by_rows)


def _widest(mask: Tensor, interval: Interval, most: int) -> Tensor:
    """The marks `[B, *S]` of so many marked elements of each example, those of the widest intervals."""
    flat = flatten(mask, 1)
    if flat.shape[1] <= most:
        return mask
    width = torch.where(flat, flatten(interval.width.expand(mask.shape), 1), -1)
    chosen = torch.zeros_like(flat).scatter(1, width.topk(most, dim=1).indices, value=True)
    return (chosen & flat).reshape(mask.shape)


def marked_rows(mask: Tensor) -> Tensor | None:
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
    given: Collection[str] | None,
    relaxations: Relaxations,
    bound: BoundSelected,
    found: dict[str, Interval],
    screen: Screen | None = None,
    most: int | None = None,
) -> Refine:
    """What to refine before each operator: those elements of its operands that its rule calls unstable.

    Args:
        problem: The problem.
        given: Nodes that are not tightened further, such as those whose intervals the user brought.
        relaxations: Relaxations that have to be forgotten where an interval becomes tighter.
        bound: Bounds selected elements of a node.
        found: The intervals so far, which `relaxations` reads.
        screen: Leaves fewer elements unstable before they are bounded.
        most: How many elements of a node are bounded at most in an example, those of the widest intervals; default: all.
    """
    done: dict[str, Tensor | None] = {}
    facts = problem.facts
    todo = operands_to_tighten(problem, given)
    monitor = problem.monitor
    work = (
        {} if monitor is None else {o: _work_of_rows(problem, o) for slots in todo.values() for _, o in slots}
    )
    if monitor is not None:
        monitor.begin("bounds of inner nodes", sum(work.values()))

    def refine(name: str) -> None:
        call = problem.calls[name]
        for slot, operand in todo.get(name, ()):
            if monitor is not None and monitor.late:
                return
            if monitor is not None:
                monitor.part(operand, work.pop(operand, 0.0))
            masks = problem.rules[name].unstable_inputs(call, relaxations.operand_intervals(name))
            try:
                better = tightened(problem, operand, masks[slot], found[operand], done, bound, screen, most)
            except OutOfTime:  # nodes without tighter bounds keep those that follow from their operands
                return
            if better is not None:
                found[operand] = better
                relaxations.forget(facts.users[operand])

    return refine


def operands_to_tighten(
    problem: Problem, given: Collection[str] | None = None
) -> Mapping[str, Sequence[tuple[int, str]]]:
    """By operator, the operands whose intervals its rule reads, and that are not known as well as can be.

    Args:
        problem: The problem.
        given: Names of what else is known.

    Returns:
        Numbers of the slots, and names of the nodes.
    """
    found = problem.facts.tightened
    if not given:
        return found
    return {name: [(i, o) for i, o in slots if o not in given] for name, slots in found.items()}


def _work_of_rows(problem: Problem, node: str) -> float:
    """The work of rows that read each element of a node."""
    return math.prod(problem.shape(node)) * problem.facts.work[node].products
