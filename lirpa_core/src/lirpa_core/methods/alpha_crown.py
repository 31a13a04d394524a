"""α-CROWN: backward bounds with optimised slopes (Xu et al. 2021, "Fast and Complete"), for any curve.

Each row of each example has slopes of its own, unless memory or an option says that the rows share them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch

from lirpa_core.devices import is_traced
from lirpa_core.errors import OptionError
from lirpa_core.linear.coefficients import Coefficients, SelectedRows
from lirpa_core.linear.interval import Interval
from lirpa_core.methods.base import IntermediateBounds, Method, RowBounds
from lirpa_core.methods.crown import CROWN, interval_of_rows
from lirpa_core.methods.rows import bound_rows, every_element, tighter
from lirpa_core.methods.screening import Screening
from lirpa_core.methods.searched_rows import searched_rows
from lirpa_core.methods.settled import Settled
from lirpa_core.methods.slope_search import SlopeSearch
from lirpa_core.methods.slopes import KnownSlopes, free_slopes
from lirpa_core.methods.tightening import tightened_intervals
from lirpa_core.methods.traversal import intervals
from lirpa_core.problem.problem import Problem
from lirpa_core.problem.relaxations import Relaxations


@dataclass(frozen=True)
class AlphaCROWN(Method):
    """CROWN, then the slopes of all lines by gradient; the bounds of every step hold, and the best counts.

    Attributes:
        steps: Steps of the optimiser (Adam).
        step_size: Its step size, as a fraction of the range of slopes worth a try (for a ReLU, of 0 to 1).
        step_decay: Factor on the step size after every step.
        share_slopes: Whether all rows share their slopes: looser, and leaner by the number of rows.
        fix_intermediate: Whether the bounds of inner nodes stay those of CROWN; else those that CROWN leaves open are
            searched for too, layer by layer: tighter, and slower where there are many of them.
        inner_steps: Steps of each of these searches; no more than `steps`.
        inner_rows: How many neurons of a layer are searched for at most in each example, those of the widest intervals; None: all.

    Raises:
        OptionError: If a number of steps or rows is not a positive whole number.
    """

    steps: int = 20
    step_size: float = 0.25
    step_decay: float = 0.98
    share_slopes: bool = False
    fix_intermediate: bool = False
    inner_steps: int = 8
    inner_rows: int | None = 64

    name = "CROWN-Optimized"
    aliases = ("alpha-CROWN",)
    summary = "CROWN, then slopes by gradient; tightest"
    optimises_slopes = True

    def __post_init__(self) -> None:
        for name in ("steps", "inner_steps", "inner_rows"):
            value = getattr(self, name)
            if name == "inner_rows" and value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise OptionError(f"AlphaCROWN({name}={value!r}): expected a positive whole number.")

    def with_slope_search(self, search: SlopeSearch) -> Method:
        return AlphaCROWN(
            search.iteration,
            search.lr_alpha,
            search.lr_decay,
            search.use_shared_alpha,
            search.fix_interm_bounds,
            search.inner_iteration,
            search.inner_rows,
        )

    @property
    def search(self) -> SlopeSearch:
        """The settings of the optimiser."""
        return SlopeSearch(
            self.steps,
            self.step_size,
            self.step_decay,
            self.share_slopes,
            self.fix_intermediate,
            self.inner_steps,
            self.inner_rows,
        )

    def intermediate_bounds(
        self,
        problem: Problem,
        wanted: Collection[str] = (),
        given: Mapping[str, Interval] | None = None,
        memory_budget: int | None = None,
    ) -> IntermediateBounds:
        if self.fix_intermediate:
            return CROWN().intermediate_bounds(problem, wanted, given, memory_budget)
        search = dataclasses.replace(self.search, iteration=min(self.steps, self.inner_steps))
        found: dict[str, Interval] = {}
        own = Settled()
        relaxations = Relaxations(problem, found, own)
        variables: KnownSlopes = {}

        def bound(name: str, rows: SelectedRows) -> RowBounds:
            return bound_rows(problem, name, rows, relaxations, memory_budget=memory_budget)

        def searched(name: str, rows: SelectedRows) -> RowBounds | None:
            if not free_slopes(problem, found, name, variables, cheap=True):
                return None  # CROWN's bounds again
            return searched_rows(
                problem, name, rows, found, search,
                memory_budget=memory_budget, known=variables, own=own,
            )  # fmt: skip

        screens = not torch.is_grad_enabled() and not is_traced()
        screen = Screening(problem, found, memory_budget) if screens else None
        cheap = tightened_intervals(problem, given, relaxations, bound, found, screen)
        known = {*(given or ()), *problem.facts.affine}
        dear = tightened_intervals(problem, known, relaxations, searched, found, most=self.inner_rows)

        def refine(name: str) -> None:
            cheap(name)
            dear(name)

        return IntermediateBounds(intervals(problem, given, refine, found))

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
        chosen = every_element(problem, node) if rows is None else rows
        found = searched_rows(
            problem, node, chosen, inner.intervals, self.search,
            lower=lower, upper=upper, linear_bounds=linear_bounds, memory_budget=memory_budget,
        )  # fmt: skip
        return tighter(found, interval_of_rows(problem, node, inner, rows))
