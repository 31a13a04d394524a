"""α-CROWN: backward bounds with optimised slopes (Xu et al. 2021, "Fast and Complete"), for any curve.

Each row of each example has slopes of its own, unless memory or an option says that the rows share them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from lirpa_core.devices import free_share
from lirpa_core.errors import OptionError
from lirpa_core.linear.affine import AffineForm
from lirpa_core.linear.coefficients import Coefficients, DenseCoefficients, SelectedRows
from lirpa_core.linear.interval import Interval
from lirpa_core.methods.base import IntermediateBounds, Method, RowBounds
from lirpa_core.methods.crown import CROWN, interval_of_rows
from lirpa_core.methods.rows import every_element, tighter
from lirpa_core.methods.rows_as_examples import fold_intervals, fold_problem, fold_rows, unfold_form
from lirpa_core.methods.slope_search import SlopeSearch
from lirpa_core.methods.slopes import Slopes, climb, free_slopes, with_slopes
from lirpa_core.methods.tightening import tightened_intervals
from lirpa_core.methods.traversal import backward, intervals
from lirpa_core.problem.problem import Problem
from lirpa_core.problem.relaxations import Relaxations

#: Live copies of what a row carries through the graph: coefficients, the lines of every curve with
#: what their gradients need, the optimiser's moments.
_COPIES = 12


@dataclass(frozen=True)
class AlphaCROWN(Method):
    """CROWN, then the slopes of all lines by gradient; the bounds of every step hold, and the best counts.

    Attributes:
        steps: Steps of the optimiser (Adam).
        step_size: Its step size, as a fraction of the range of slopes worth a try (for a ReLU, of 0 to 1).
        step_decay: Factor on the step size after every step.
        share_slopes: Whether all rows share their slopes: looser, and leaner by the number of rows.
        fix_intermediate: Whether the bounds of inner nodes stay those of CROWN; else they are optimised too, layer
            by layer with shared slopes: tighter, and slower by about the number of steps.

    Raises:
        OptionError: If the number of steps is not a positive whole number.
    """

    steps: int = 20
    step_size: float = 0.25
    step_decay: float = 0.98
    share_slopes: bool = False
    fix_intermediate: bool = True

    name = "CROWN-Optimized"
    aliases = ("alpha-CROWN",)
    summary = "CROWN, then slopes by gradient; tightest"
    optimises_slopes = True

    def __post_init__(self) -> None:
        if not isinstance(self.steps, int) or isinstance(self.steps, bool) or self.steps < 1:
            raise OptionError(f"AlphaCROWN(steps={self.steps!r}): expected a positive whole number.")

    def with_slope_search(self, search: SlopeSearch) -> Method:
        return AlphaCROWN(
            search.iteration,
            search.lr_alpha,
            search.lr_decay,
            search.use_shared_alpha,
            search.fix_interm_bounds,
        )

    @property
    def search(self) -> SlopeSearch:
        """The settings of the optimiser."""
        return SlopeSearch(
            self.steps, self.step_size, self.step_decay, self.share_slopes, self.fix_intermediate
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
        shared = dataclasses.replace(self.search, use_shared_alpha=True)  # inner layers have too many rows
        found: dict[str, Interval] = {}
        relaxations = Relaxations(problem, found)

        def bound(name: str, rows: SelectedRows) -> RowBounds:
            return _optimised(problem, name, rows, found, shared, memory_budget=memory_budget)

        refine = tightened_intervals(problem, given, relaxations, bound, found)
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
        found = _optimised(
            problem, node, chosen, inner.intervals, self.search,
            lower=lower, upper=upper, linear_bounds=linear_bounds, memory_budget=memory_budget,
        )  # fmt: skip
        return tighter(found, interval_of_rows(problem, node, inner, rows))


def _optimised(
    problem: Problem,
    node: str,
    rows: Coefficients,
    intervals: Mapping[str, Interval],
    search: SlopeSearch,
    *,
    lower: bool = True,
    upper: bool = True,
    linear_bounds: bool = False,
    memory_budget: int | None = None,
) -> RowBounds:
    """Concrete bounds of rows over a node, with slopes optimised for each side on its own.

    Bounds are, per row and example, the best of all steps. Gradients flow through the bound at the best slopes.
    """
    size = _rows_at_once(problem, node, memory_budget)
    sides = lower + upper

    def side(signed: Coefficients, before: int) -> tuple[Tensor, AffineForm | None]:
        parts = [signed.take(i, min(i + size, signed.rows)) for i in range(0, signed.rows, size)]

        def told(part: int, share: float) -> None:
            problem.within((before + (part + share) / len(parts)) / sides)

        found = [
            _maximise(_Pass.of(problem, node, p, search), intervals, search, linear_bounds, partial(told, i))
            for i, p in enumerate(parts)
        ]
        forms = [form for _, form in found if form is not None]
        return torch.cat([value for value, _ in found]), _stacked(forms) if forms else None

    low, low_form = side(rows, 0) if lower else (None, None)
    up, up_form = side(rows.negate(), sides - 1) if upper else (None, None)
    return RowBounds(low, None if up is None else -up, low_form, up_form)


def _rows_at_once(problem: Problem, node: str, memory_budget: int | None) -> int:
    """How many rows fit: each leaves a copy of everything on its way, for the gradient."""
    budget = free_share(problem.device) if memory_budget is None else memory_budget
    return max(1, budget // max(1, bytes_of_searched_row(problem, problem.ancestors(node))))


def bytes_of_searched_row(problem: Problem, names: Iterable[str]) -> int:
    """What one row takes on its way through the named nodes while its slopes are searched for."""
    elements = sum([math.prod(problem.shape(name)) for name in names])
    return elements * problem.batch * problem.dtype.itemsize * _COPIES


def _stacked(forms: list[AffineForm]) -> AffineForm:
    """The rows of several forms, one form after the other."""
    if len(forms) == 1:
        return forms[0]
    coefficients: dict[str, Coefficients] = {
        name: DenseCoefficients(torch.cat([form.coefficients[name].to_dense() for form in forms]))
        for name in forms[0].coefficients
    }
    return AffineForm(coefficients, torch.cat([form.bias for form in forms]))


@dataclass(frozen=True, eq=False)
class _Pass:
    """Rows over a node, laid out so that what is an example to the traversal has slopes of its own.

    Attributes:
        problem: The user's problem.
        laid_out: The problem that rows travel through: the same, or with `R * B` examples.
        node: The node that the rows are over.
        rows: `R` rows of the one, or one row of the other.
        folded: Number of rows folded into the examples; None where they are shared.
    """

    problem: Problem
    laid_out: Problem
    node: str
    rows: Coefficients
    folded: int | None

    @classmethod
    def of(cls, problem: Problem, node: str, rows: Coefficients, search: SlopeSearch) -> _Pass:
        if search.use_shared_alpha:
            return cls(problem, problem, node, rows, None)
        laid_out = fold_problem(problem, rows.rows)
        return cls(problem, laid_out, node, fold_rows(rows, problem.batch), rows.rows)

    def nearest(self) -> _Pass:
        """The same pass without an account of rounding, for the search: whatever chose the slopes, lines are sound."""
        if not self.problem.outward:
            return self
        return dataclasses.replace(
            self,
            problem=dataclasses.replace(self.problem, outward=False),
            laid_out=dataclasses.replace(self.laid_out, outward=False),
        )

    def intervals(self, intervals: Mapping[str, Interval]) -> Mapping[str, Interval]:
        if self.folded is None:
            return intervals
        return fold_intervals(self.problem, intervals, self.problem.ancestors(self.node), self.folded)

    def form(self, slopes: Mapping[str, Slopes], intervals: Mapping[str, Interval]) -> AffineForm:
        """Linear lower bounds with these slopes, on laid out intervals."""
        relaxations = Relaxations(self.laid_out, intervals, with_slopes(slopes))
        form = backward(self.laid_out, self.node, self.rows, relaxations)
        return form if self.folded is None else unfold_form(form, self.folded)

    def bound(self, slopes: Mapping[str, Slopes], intervals: Mapping[str, Interval]) -> Tensor:
        """Lower bounds `[R, B]` with these slopes."""
        return self.problem.minimum(self.form(slopes, intervals))


def _maximise(
    rows: _Pass,
    intervals: Mapping[str, Interval],
    search: SlopeSearch,
    linear_bounds: bool,
    told: Callable[[float], None],
) -> tuple[Tensor, AffineForm | None]:
    """The best lower bounds found, `[R, B]`, and the linear bounds that they come from where these are wanted."""
    laid_out = rows.intervals(intervals)
    fixed = {name: interval.detach() for name, interval in laid_out.items()}
    free = free_slopes(rows.laid_out, fixed, rows.node)
    search_rows = rows.nearest()
    best: Tensor | None = None
    slopes: dict[str, Slopes] = {}
    if free:
        with torch.enable_grad():
            best, slopes = climb(free, lambda chosen: search_rows.bound(chosen, fixed), search, told)
        if not linear_bounds and not torch.is_grad_enabled() and search_rows is rows:
            return best, None
    form = rows.form(slopes, laid_out)
    value = rows.problem.minimum(form)
    if best is not None and search_rows is rows:
        # What an earlier step was better by has no gradient: the bound's is that of these slopes.
        value = value + (best - value.detach()).clamp(min=0)
    return value, form if linear_bounds else None
