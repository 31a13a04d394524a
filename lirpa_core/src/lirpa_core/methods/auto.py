"""`auto`: the tightest of the core's methods that is estimated to fit a budget of time and memory.

The methods are tried from the tightest to the loosest: α-CROWN, CROWN, CROWN-IBP, IBP. What each takes is estimated from
the work of its passes (`methods.cost`), with the rows that interval arithmetic leaves unstable, so the same call makes the
same choice on the same kind of machine. The clock is looked at only to stop in time: then inner nodes that have not
been bounded by rows keep the intervals that follow from those that have, and a search for slopes ends with its best step.
Either is sound. Bounds are intersected with those of IBP on the way, so they are never looser than those.

Forward bounds are not among the methods: on the networks of the benchmark they take about as long as CROWN and are looser.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import torch

from lirpa_core.devices import free_share, is_traced
from lirpa_core.errors import OptionError
from lirpa_core.linear.coefficients import Coefficients
from lirpa_core.linear.interval import Interval
from lirpa_core.methods import cost
from lirpa_core.methods.alpha_crown import AlphaCROWN
from lirpa_core.methods.base import Choice, IntermediateBounds, Method, RowBounds
from lirpa_core.methods.crown import CROWN
from lirpa_core.methods.ibp import IBP
from lirpa_core.methods.rows import bytes_of_a_row
from lirpa_core.methods.slope_search import SlopeSearch
from lirpa_core.methods.together import Together
from lirpa_core.problem.problem import Problem
from lirpa_core.problem.relaxations import Relaxations, by_rule
from lirpa_core.progress import Monitor

#: Seconds that a computation may take unless told otherwise.
DEFAULT_SECONDS = 10.0
#: The share of the time in which rows are counted, and how far above the budget an estimate is where that is no use.
_COUNTING, _HOPELESS = 0.1, 100.0


@dataclass(frozen=True, eq=False)
class AutoBounds(IntermediateBounds):
    """Bounds of the inner nodes, and what `auto` knows besides.

    Attributes:
        by_ibp: What IBP says of the nodes.
        by_rows: Whether rows have bounded the inner nodes too.
        seconds: What these were estimated to take together; of rows, whether they were bounded or not.
        problem: The problem that was asked about.
        watched: The same, as relaxations were made for it.
        started: When the computation began, by `time.monotonic()`; None where the clock is not looked at.
        stopped: Whether the time was over before all inner nodes were bounded.
    """

    by_ibp: IntermediateBounds | None = None
    by_rows: bool = False
    seconds: float = 0.0
    problem: Problem | None = None
    watched: Problem | None = None
    started: float | None = None
    stopped: bool = False


@dataclass(frozen=True)
class Auto(Method):
    """The tightest of α-CROWN, CROWN, CROWN-IBP and IBP that is estimated to fit.

    Attributes:
        time_budget: Seconds that a computation may take.
        search: How α-CROWN searches.

    Raises:
        OptionError: If the budget is not a positive number.
    """

    time_budget: float = DEFAULT_SECONDS
    search: SlopeSearch = field(default_factory=SlopeSearch)

    name = "auto"
    summary = "the tightest of these that fits a budget of time and memory"
    optimises_slopes = True
    takes_time_budget = True

    def __post_init__(self) -> None:
        budget = self.time_budget
        if isinstance(budget, bool) or not isinstance(budget, (int, float)) or not budget > 0:
            raise OptionError(
                f"time_budget={budget!r}: expected a positive number of seconds; float('inf') for no limit."
            )

    def with_slope_search(self, search: SlopeSearch) -> Method:
        return dataclasses.replace(self, search=search)

    def with_time_budget(self, seconds: float) -> Method:
        return dataclasses.replace(self, time_budget=seconds)

    def intermediate_bounds(
        self,
        problem: Problem,
        wanted: Collection[str] = (),
        given: Mapping[str, Interval] | None = None,
        memory_budget: int | None = None,
    ) -> AutoBounds:
        compiling = is_traced()
        started = None if compiling else time.monotonic()
        watched = _watched(problem)
        monitor = watched.monitor
        assert monitor is not None
        by_ibp = IBP().intermediate_bounds(problem, wanted, given, memory_budget)
        if not _has_linear_bounds(problem):
            return AutoBounds(by_ibp.intervals, by_ibp=by_ibp, started=started)
        last = sum(
            [cost.rows_seconds(problem, n, math.prod(problem.shape(n)), memory_budget) for n in wanted]
        )
        inner = cost.intervals_seconds(problem)
        rows, relaxations = self._inner_seconds(problem, by_ibp.intervals, given, memory_budget, last)
        inner += rows
        if inner + last > self.time_budget or not _fits(bytes_of_a_row(problem), problem, memory_budget):
            return AutoBounds(
                by_ibp.intervals, relaxations=relaxations, by_ibp=by_ibp, seconds=inner, started=started
            )
        until = math.inf if started is None else started + max(0.0, self.time_budget - last)
        method: Method = CROWN()
        searched = rows * (1 + cost.STEP * (self.search.inner_iteration + 1))
        both = inner - rows + searched + last * (1 + cost.STEP * (self.search.iteration + 1))
        if (
            not self.search.fix_interm_bounds
            and both <= self.time_budget
            and _fits(cost.search_bytes(problem), problem, memory_budget)
        ):
            method, inner = AlphaCROWN().with_slope_search(self.search), inner - rows + searched
        with monitor.until(until):
            found = method.intermediate_bounds(watched, wanted, given, memory_budget)
            stopped = not compiling and monitor.late
        intervals = {
            name: interval.intersect(by_ibp.intervals[name]) for name, interval in found.intervals.items()
        }
        return AutoBounds(
            intervals, relaxations=found.relaxations, recorded=found.recorded,
            by_ibp=by_ibp, by_rows=True, seconds=inner,
            problem=problem, watched=watched, started=started, stopped=stopped,
        )  # fmt: skip

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
        begun = inner if isinstance(inner, AutoBounds) else AutoBounds(inner.intervals, by_rows=True)
        count = math.prod(problem.shape(node)) if rows is None else rows.rows
        method, choice = self._choose(problem, node, begun, count, linear_bounds, memory_budget)
        watched = (
            begun.watched if begun.problem is problem and begun.watched is not None else _watched(problem)
        )
        monitor, until = watched.monitor, math.inf
        assert monitor is not None
        if isinstance(method, AlphaCROWN) and begun.started is not None:
            until = begun.started + self.time_budget
        with monitor.until(until):
            found = method.bound_rows(
                watched, node, inner, rows,
                lower=lower, upper=upper, linear_bounds=linear_bounds, memory_budget=memory_budget,
            )  # fmt: skip
        if begun.by_ibp is not None and not isinstance(method, IBP):
            simple = IBP().bound_rows(
                problem, node, begun.by_ibp, rows, lower=lower, upper=upper, memory_budget=memory_budget
            )
            found = dataclasses.replace(
                found,
                lower=None
                if found.lower is None or simple.lower is None
                else found.lower.maximum(simple.lower),
                upper=None
                if found.upper is None or simple.upper is None
                else found.upper.minimum(simple.upper),
            )
        return dataclasses.replace(found, choice=choice)

    def _inner_seconds(
        self,
        problem: Problem,
        intervals: Mapping[str, Interval],
        given: Mapping[str, Interval] | None,
        memory_budget: int | None,
        last: float,
    ) -> tuple[float, Relaxations | None]:
        """What CROWN is estimated to take for the inner nodes, and relaxations on the intervals where some were made.

        Where a method would take too long with dense rows, but not by far, it is counted how dense rows really are, until that
        decides or has taken nearly as long as CROWN-IBP.
        """
        if is_traced():  # which does not look at values
            return sum(cost.inner_seconds(problem, None, given, memory_budget).values()), None
        seconds = cost.inner_seconds(problem, intervals, given, memory_budget)
        dense, looser = sum(seconds.values()), cost.intervals_seconds(problem) + last
        goal = self.time_budget - last * (1 + self.search.iteration * cost.STEP)
        if dense <= goal or dense > _HOPELESS * self.time_budget or looser > self.time_budget:
            return dense, None
        relaxations = Relaxations(problem, intervals, Together(intervals, frozenset(problem.calls)))
        density, left = cost.Densities(seconds), min(self.time_budget * _COUNTING, 0.75 * looser)
        with torch.no_grad():
            while density.most > goal and density.least <= self.time_budget - last:
                node = density.most_telling
                left -= cost.rows_seconds(problem, node, 1)
                if left < 0 or not density.learn(node, cost.density(problem, node, relaxations)):
                    break
        return density.most, relaxations

    def _choose(
        self,
        problem: Problem,
        node: str,
        begun: AutoBounds,
        rows: int,
        linear_bounds: bool,
        memory_budget: int | None,
    ) -> tuple[Method, Choice]:
        """The method for so many rows over a node, and why."""
        row, searched = bytes_of_a_row(problem), cost.search_bytes(problem)
        last, base = cost.rows_seconds(problem, node, rows, memory_budget), cost.intervals_seconds(problem)
        search = begun.seconds + cost.search_seconds(problem, node, rows, self.search.iteration)
        if not begun.by_rows and not _has_linear_bounds(problem) and not linear_bounds:
            return IBP(), Choice("IBP", f"{_first_without_linear_bounds(problem)} has intervals only")
        if not begun.by_rows:
            tighter = _estimated("CROWN", begun.seconds + last, row, problem, memory_budget)
            fits = base + last <= self.time_budget and _fits(row, problem, memory_budget)
            if fits or linear_bounds:
                relax = (
                    by_rule if begun.relaxations is None else begun.relaxations.relax
                )  # so that they are used
                return CROWN(relax), Choice("CROWN-IBP", f"{self._of_budget(base + last)}; {tighter}")
            return IBP(), Choice("IBP", f"{self._of_budget(base)}; {tighter}")
        if begun.stopped:
            why = f"the time, {self.time_budget:.3g} s, was over before all inner nodes were bounded by rows"
            return CROWN(), Choice("CROWN", why)
        if search > self.time_budget or not _fits(searched, problem, memory_budget):
            tighter = _estimated("CROWN-Optimized", search, searched, problem, memory_budget)
            return CROWN(), Choice("CROWN", f"{self._of_budget(begun.seconds + last)}; {tighter}")
        method = AlphaCROWN().with_slope_search(self.search)
        return method, Choice(method.name, self._of_budget(search))

    def _of_budget(self, seconds: float) -> str:
        return f"estimated at {seconds:.2g} s of {self.time_budget:.3g} s"


def _estimated(method: str, seconds: float, size: int, problem: Problem, memory_budget: int | None) -> str:
    """Why a method was not chosen."""
    if _fits(size, problem, memory_budget):
        return f"{method} is estimated at {seconds:.2g} s, time_budget= sets how long it may take"
    return f"{method} takes {size / 2**20:.3g} MiB for a row, memory_budget= sets how much there is"


def _watched(problem: Problem) -> Problem:
    """The problem with a monitor, which can tell when the time is over."""
    return problem if problem.monitor is not None else dataclasses.replace(problem, monitor=Monitor())


def _fits(size: int, problem: Problem, memory_budget: int | None) -> bool:
    return size <= (free_share(problem.device) if memory_budget is None else memory_budget)


def _has_linear_bounds(problem: Problem) -> bool:
    return all(["backward" in rule.modes for rule in problem.rules.values()])


def _first_without_linear_bounds(problem: Problem) -> str:
    name = next(name for name, rule in problem.rules.items() if "backward" not in rule.modes)
    return str(problem.graph[name])
