"""What methods are estimated to take: seconds and bytes, from the graph, the sizes, the batch and the device.

The estimate is of the work, which depends on nothing that changes from call to call: the same call gets the same
estimate. Its rates were fitted to the networks of `benchmarks/against/networks.py`
(`python -m benchmarks.auto`, the table is in docs/benchmarks/auto.md); it is good to a factor of about three.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from operator import mul

import torch

from lirpa_core.devices import is_cuda
from lirpa_core.linear.coefficients import Coefficients, numbers
from lirpa_core.linear.coefficients.base import flatten
from lirpa_core.linear.interval import Interval
from lirpa_core.methods.rows import bytes_of_a_row, default_budget, every_element
from lirpa_core.methods.screening import FEW
from lirpa_core.methods.searched_rows import bytes_of_searched_row
from lirpa_core.methods.tightening import operands_to_tighten
from lirpa_core.methods.traversal import backward
from lirpa_core.problem.problem import Problem
from lirpa_core.problem.relaxations import Relaxations
from lirpa_core.problem.work import Work


@dataclass(frozen=True)
class Rates:
    """Seconds of one unit of work.

    Attributes:
        operator: A step of a backward pass, however small; one of interval arithmetic takes half.
        product: A product of two numbers and its sum, on one core.
        element: A number that is read and written.
    """

    operator: float
    product: float
    element: float

    def on_cores(self, cores: int) -> Rates:
        """The rates of so many cores."""
        return Rates(self.operator, self.product / cores, self.element / cores)


#: Of one core of a CPU.
_CORE = Rates(operator=4e-4, product=4e-11, element=1.5e-9)
#: Of a GPU: the same time to begin, and rates below its peaks as far as a core's are below its own.
_GPU = Rates(operator=4e-4, product=2e-13, element=5e-12)
#: Of the elements that interval arithmetic leaves unstable, those that get full rows, where screening decides others.
_LEFT = 0.25
#: What a screening pass takes, as a share of what full rows take: it has one row where they have two.
_SCREENED = 0.5
#: A step of the search for slopes as a multiple of one backward pass: forwards, backwards, and a batch of rows.
STEP = 5.0


def rates_on(device: torch.device) -> Rates:
    """The rates of a device; an unknown one is taken for a CPU."""
    return _GPU if is_cuda(device) else _CORE.on_cores(torch.get_num_threads())


def intervals_seconds(problem: Problem) -> float:
    """Interval arithmetic: two evaluations of the graph."""
    work, rates = _whole(problem), rates_on(problem.device)
    each = work.products * rates.product + 4 * work.elements * rates.element
    return work.operators * rates.operator / 2 + 2 * problem.batch * each


def rows_seconds(problem: Problem, node: str, rows: int, memory_budget: int | None = None) -> float:
    """One backward pass of so many dense rows over a node, both bounds, in the chunks that memory asks for."""
    work, rates = problem.facts.work.get(node, Work()), rates_on(problem.device)
    budget = default_budget(problem.device) if memory_budget is None else memory_budget
    chunks = math.ceil(rows / max(1, budget // bytes_of_a_row(problem)))
    each = work.products * rates.product + work.elements * rates.element
    return chunks * work.operators * rates.operator + rows * 2 * problem.batch * each


def inner_seconds(
    problem: Problem,
    intervals: Mapping[str, Interval] | None,
    given: Mapping[str, Interval] | None = None,
    memory_budget: int | None = None,
) -> dict[str, float]:
    """Backward passes for the inner nodes, by node, with dense rows for what these intervals leave unstable.

    Args:
        problem: The problem.
        intervals: What interval arithmetic says, `[B, *S]` by node; None: every element counts.
        given: Nodes that are known.
        memory_budget: Bytes that coefficients may take.
    """
    seconds: dict[str, float] = {}
    for name, slots in operands_to_tighten(problem, given).items():
        call = problem.calls[name]
        masks = None
        if intervals is not None and slots:
            masks = problem.rules[name].unstable_inputs(call, tuple([intervals[o] for o in call.operands]))
        for slot, operand in slots:
            rows = math.prod(problem.shape(operand))
            if masks is not None and operand not in problem.facts.affine:
                mask = masks[slot]
                rows = 0 if mask is None else int(flatten(mask, 1).sum(1).max())
            few = rows * problem.batch * problem.facts.widest < FEW
            found = rows_seconds(problem, operand, rows, memory_budget) * (1.0 if few else _SCREENED + _LEFT)
            seconds[operand] = max(seconds.get(operand, 0.0), found)
    return seconds


def density(problem: Problem, node: str, relaxations: Relaxations) -> float:
    """How much of dense rows there is to compute: structured ones, such as those over images, hold fewer numbers.

    It is counted on one row from the middle of the node, which takes one backward pass.
    """
    rows = every_element(problem, node)
    middle = rows.rows // 2
    there = [0, 0]

    def count(A: Coefficients) -> None:
        there[0] += numbers(A)
        there[1] += A.rows * A.batch * math.prod(A.shape)

    backward(problem, node, rows.take(middle, middle + 1), relaxations, both=True, watch=count)
    return there[0] / there[1] if there[1] else 1.0


class Densities:
    """What rows over some nodes take, between two limits that come closer with each density that is counted.

    The farther a node is from the inputs, the denser are the rows over it.

    Args:
        seconds: Of dense rows, by node, from the inputs on.
    """

    def __init__(self, seconds: Mapping[str, float]) -> None:
        self._names, self._seconds = list(seconds), list(seconds.values())
        self._low, self._high = [0.0] * len(seconds), [1.0] * len(seconds)

    @property
    def least(self) -> float:
        """Seconds, at least."""
        return math.fsum(map(mul, self._seconds, self._low))

    @property
    def most(self) -> float:
        """Seconds, at most."""
        return math.fsum(map(mul, self._seconds, self._high))

    @property
    def most_telling(self) -> str:
        """The node on either side of which half of what is not known lies."""
        open_ = [s * (high - low) for s, low, high in zip(self._seconds, self._low, self._high, strict=True)]
        half = sum(open_) / 2
        return next(
            (n for n, so_far in zip(self._names, accumulate(open_), strict=True) if so_far >= half),
            self._names[-1],
        )

    def learn(self, name: str, density: float) -> bool:
        """Take note of a density; False if nothing new follows."""
        before = self._low, self._high
        at = self._names.index(name)
        self._low = [max(low, density) if i >= at else low for i, low in enumerate(self._low)]
        self._high = [min(high, density) if i <= at else high for i, high in enumerate(self._high)]
        return (self._low, self._high) != before


def search_seconds(problem: Problem, node: str, rows: int, steps: int) -> float:
    """A search for slopes, for both sides of so many rows over a node."""
    return (steps + 1) * STEP * rows_seconds(problem, node, rows)


def search_bytes(problem: Problem) -> int:
    """What one row of a search for slopes takes: a copy of everything on its way, for the gradient."""
    return bytes_of_searched_row(problem, problem.facts.work.keys())


def _whole(problem: Problem) -> Work:
    return problem.facts.work[problem.facts.reversed_order[0]] if problem.calls else Work()
