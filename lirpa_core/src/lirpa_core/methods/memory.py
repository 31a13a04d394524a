"""How many rows fit: backward passes in chunks, so that a large layer never runs out of memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import torch

from lirpa_core.linear.coefficients import Coefficients
from lirpa_core.problem.problem import Problem

#: Live copies of the largest coefficient tensor during a backward step: the old one, the new one,
#: a mask and a product.
_COPIES = 4
#: Fraction of the free memory that the coefficients may take on an accelerator.
_FRACTION = 0.25
#: Bytes that the coefficients take on a CPU unless told otherwise. Above it every temporary is memory that the
#: system has to hand out and clear first: the residual network of VNN-COMP 2021 with four blocks takes 1.7
#: times as long with all its rows at once, an MLP on 16 examples 1.6 times.
_CPU = 2**25


def free_share(device: torch.device) -> int:
    """A quarter of the free memory of a device, in bytes."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] * _FRACTION)
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):  # not every system has these names
        free = 4 * 2**30
    return int(free * _FRACTION)


def default_budget(device: torch.device) -> int:
    """Bytes that coefficients may take unless told otherwise."""
    return _CPU if device.type == "cpu" else free_share(device)


def bytes_of_a_row(problem: Problem) -> int:
    """What one dense row, lower and upper bound together, takes at the widest node of the graph."""
    return max(1, 2 * problem.batch * problem.widest * problem.dtype.itemsize * _COPIES)


def chunks_of_rows(
    problem: Problem, rows: Coefficients, memory_budget: int | None, numbers: Callable[[Coefficients], int]
) -> Iterator[Coefficients]:
    """The rows in consecutive chunks that fit the budget.

    Args:
        problem: The problem.
        rows: All rows.
        memory_budget: Bytes, for rows that are taken to be dense. None: the default, for rows as they are;
            those with structure are smaller.
        numbers: Pulls a row back, and says how many numbers its coefficients are where there are most.
    """
    budget = default_budget(problem.device) if memory_budget is None else memory_budget
    row = bytes_of_a_row(problem)
    if rows.rows * row > budget and memory_budget is None:
        row = max(1, numbers(rows.take(0, 1)) * problem.dtype.itemsize * _COPIES)
    size = max(1, budget // row)
    if rows.rows <= size:
        yield rows
        return
    for start in range(0, rows.rows, size):
        yield rows.take(start, min(start + size, rows.rows))
