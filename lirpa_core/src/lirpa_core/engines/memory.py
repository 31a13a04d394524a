"""How many rows fit: backward passes in chunks, so that a large layer never runs out of memory."""

from __future__ import annotations

import os
from collections.abc import Iterator

import torch

from lirpa_core.bounds.linear_map import LinearMap
from lirpa_core.engines.problem import Problem

#: Live copies of the largest coefficient tensor during a backward step: the old one, the new one,
#: a mask and a product.
_COPIES = 4
#: Fraction of the free memory that the coefficients may take unless told otherwise.
_FRACTION = 0.25
#: Bytes that always fit, so that small problems need not ask the system what is free.
_SMALL = 2**24


def default_budget(device: torch.device) -> int:
    """Bytes that coefficients may take: a quarter of the free memory of the device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] * _FRACTION)
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):  # not every system has these names
        free = 4 * 2**30
    return int(free * _FRACTION)


def bytes_of_a_row(problem: Problem) -> int:
    """What one row, lower and upper bound together, takes at the widest node of the graph."""
    return max(1, 2 * problem.batch * problem.widest * problem.dtype.itemsize * _COPIES)


def rows_that_fit(problem: Problem, memory_budget: int | None = None) -> int:
    """How many rows, lower and upper bounds together, one backward pass may carry; at least one."""
    budget = default_budget(problem.device) if memory_budget is None else memory_budget
    return max(1, budget // bytes_of_a_row(problem))


def chunks_of_rows(
    problem: Problem, rows: LinearMap, memory_budget: int | None = None
) -> Iterator[LinearMap]:
    """The rows in consecutive chunks that fit the budget."""
    if memory_budget is None and rows.rows * bytes_of_a_row(problem) <= _SMALL:
        yield rows
        return
    size = rows_that_fit(problem, memory_budget)
    if rows.rows <= size:
        yield rows
        return
    for start in range(0, rows.rows, size):
        yield rows.take(start, min(start + size, rows.rows))
