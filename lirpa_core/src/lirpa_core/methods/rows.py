"""Bounds of rows over a node by a backward pass, in chunks that fit the memory budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from lirpa_core.devices import accelerator_of, free_share, ran_out_of_memory, release_memory
from lirpa_core.errors import MemoryBudgetError
from lirpa_core.linear.coefficients import Coefficients, SelectedRows, numbers
from lirpa_core.linear.infinite import split_dot
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.rounding import gamma, widened
from lirpa_core.methods.base import RowBounds
from lirpa_core.methods.traversal import backward
from lirpa_core.problem.problem import Problem
from lirpa_core.problem.relaxations import Relaxations

T = TypeVar("T")

#: Backpropagating one of so few rows, to see how large they are, takes longer than what it is good for.
_FEW = 32
#: Live copies of the largest coefficient tensor during a backward step: the old one, the new one,
#: a mask and a product.
_COPIES = 4
#: Bytes that the coefficients take on a CPU unless told otherwise. Above it every temporary is memory that the
#: system has to hand out and clear first: the residual network of VNN-COMP 2021 with four blocks takes 1.7
#: times as long with all its rows at once, an MLP on 16 examples 1.6 times.
_CPU = 2**25


def default_budget(device: torch.device) -> int:
    """Bytes that coefficients may take unless told otherwise."""
    return _CPU if accelerator_of(device) is None else free_share(device)


def bytes_of_a_row(problem: Problem) -> int:
    """What one dense row, lower and upper bound together, takes at the widest node of the graph."""
    return max(1, 2 * problem.batch * problem.facts.widest * problem.dtype.itemsize * _COPIES)


def chunks_of_rows(
    problem: Problem, rows: Coefficients, memory_budget: int | None, size_of: Callable[[Coefficients], int]
) -> Iterable[Coefficients]:
    """The rows in consecutive chunks that fit the budget.

    Args:
        problem: The problem.
        rows: All rows.
        memory_budget: Bytes, for rows that are taken to be dense. None: the default, for rows as they are;
            those with structure are smaller.
        size_of: Backpropagates a row, and says how many numbers its coefficients are where there are most.
    """
    budget = default_budget(problem.device) if memory_budget is None else memory_budget
    row, count = bytes_of_a_row(problem), rows.rows
    if count * row > budget and memory_budget is None and count > _FEW:
        row = max(1, size_of(rows.take(0, 1)) * problem.dtype.itemsize * _COPIES)
    size = max(1, budget // row)
    if count <= size:
        return (rows,)
    return (rows.take(start, min(start + size, count)) for start in range(0, count, size))


def in_halves_if_needed(
    chunks: Iterable[Coefficients], work: Callable[[Coefficients], T], device: torch.device
) -> Iterator[tuple[Coefficients, T]]:
    """Work on chunks of rows, in halves where a device runs out of memory.

    Yields:
        Each chunk, or part of one, with what the work makes of it, in order.

    Raises:
        MemoryBudgetError: If a single row is too much.
    """
    for chunk in chunks:
        todo = [chunk]
        while todo:
            part = todo.pop()
            try:
                found = work(part)
            except (RuntimeError, MemoryError) as error:
                if not ran_out_of_memory(error):
                    raise
                if part.rows == 1:
                    raise MemoryBudgetError(
                        "the device has not enough memory for one row of coefficients. Use fewer examples at a time, float32, "
                        f"another method (IBP needs least), or free memory of other things. PyTorch says: {error}"
                    ) from error
            else:
                yield part, found
                continue
            # Outside of `except`, whose traceback keeps tensors of the failed attempt alive.
            release_memory(device)
            half = part.rows // 2
            todo += [part.take(half, part.rows), part.take(0, half)]


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
    """Concrete bounds of rows over a node, in chunks that fit the memory budget; each process bounds its share.

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
    if problem.processes is None:
        return _in_chunks(problem, node, rows, relaxations, lower, upper, memory_budget, stop_at)

    def bound(part: Coefficients) -> RowBounds:
        return _in_chunks(problem, node, part, relaxations, lower, upper, memory_budget, stop_at)

    chunk = None if memory_budget is None else max(1, memory_budget // bytes_of_a_row(problem))
    return over_processes(problem, node, rows, bound, chunk)


def over_processes(
    problem: Problem,
    node: str,
    rows: Coefficients,
    bound: Callable[[Coefficients], RowBounds],
    chunk: int | None = None,
) -> RowBounds:
    """Bounds of rows over a node, of which each of the processes that share the problem bounds some.

    Args:
        problem: The problem.
        node: The node.
        rows: `R` rows, the same in all processes.
        bound: Bounds rows, each by itself.
        chunk: How many it takes at a time; parts are cut there only, so that each chunk is that of one process, unless that
            would leave processes without work.
    """
    processes = problem.processes
    if processes is None:
        return bound(rows)
    even = -(-rows.rows // processes.world)

    def work(own: range) -> tuple[Tensor | None, Tensor | None]:
        found = bound(rows.take(own.start, own.stop))
        return found.lower, found.upper

    at = f"{rows.rows} rows over {node}"
    lower, upper = processes.divided(at, rows.rows, work, None if chunk is None else min(chunk, even))
    return RowBounds(lower, upper)


def _in_chunks(
    problem: Problem,
    node: str,
    rows: Coefficients,
    relaxations: Relaxations,
    lower: bool,
    upper: bool,
    memory_budget: int | None,
    stop_at: Collection[str],
) -> RowBounds:
    lowers: list[Tensor] = []
    uppers: list[Tensor] = []
    both = lower and upper

    def size_of(row: Coefficients) -> int:
        """Numbers of one row where it has most; found apart, lest relaxations without gradients be used later."""
        most = [1]
        with torch.no_grad():
            apart = relaxations.apart()
            backward(
                problem,
                node,
                row,
                apart,
                both=both,
                stop_at=stop_at,
                watch=lambda A: most.append(numbers(A)),
            )
        return max(most)

    def minimum(part: Coefficients) -> Tensor:
        start = part if lower else part.negate()
        form = backward(problem, node, start, relaxations, both=both, stop_at=stop_at)
        return problem.minimum(form, relaxations.intervals)

    done = 0
    chunks = chunks_of_rows(problem, rows, memory_budget, size_of)
    for part, value in in_halves_if_needed(chunks, minimum, problem.device):
        if problem.outward:  # a row whose error is not a number bounds nothing
            value = torch.where(value.isnan(), -torch.inf, value)
        if lower:
            lowers.append(value[: part.rows])
        if upper:
            uppers.append(-value[-part.rows :])
        done += part.rows
        if done < rows.rows:
            problem.within(done / rows.rows)
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


# ---------------------------------------------------------------------- rows and intervals


def every_element(problem: Problem, node: str) -> SelectedRows:
    """The rows that read each element of a node."""
    return SelectedRows.identity(problem.shape(node), dtype=problem.dtype_of(node), device=problem.device)


def rows_of_interval(interval: Interval, batch: int) -> Interval:
    """Bounds of a node's elements `[B, *S]` as those of rows that read each of them, `[R, B]`."""

    def lay_out(end: Tensor) -> Tensor:
        return end.reshape(end.shape[0], -1).T.expand(-1, batch)

    return Interval(lay_out(interval.lower), lay_out(interval.upper))


def rows_over_interval(problem: Problem, node: str, rows: Coefficients, interval: Interval) -> Interval:
    """Bounds of rows over a node from the interval of the node, `[R, B]`."""
    may_be_infinite = problem.may_be_infinite(node)
    if problem.outward:
        terms = 1 if rows.reads_single_elements else math.prod(problem.shape(node))
        interval = widened(interval, "box", gamma(terms + 16, problem.dtype_of(node)))
    lower = split_dot(rows, interval, may_be_infinite)
    return Interval(lower, -split_dot(rows.negate(), interval, may_be_infinite))


def tighter(found: RowBounds, simple: Interval) -> RowBounds:
    """The tighter of what a method found and what follows from the node's interval."""
    return RowBounds(
        None if found.lower is None else found.lower.maximum(simple.lower),
        None if found.upper is None else found.upper.minimum(simple.upper),
        found.lower_form,
        found.upper_form,
    )
