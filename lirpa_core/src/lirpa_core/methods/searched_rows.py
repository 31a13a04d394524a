"""Rows over a node with slopes that an optimiser has chosen for them, lower and upper bounds at once.

Each row of each example and side has slopes of its own, unless memory or an option says that the rows share them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from lirpa_core.devices import free_share
from lirpa_core.linear.affine import AffineForm
from lirpa_core.linear.coefficients import Coefficients, DenseCoefficients
from lirpa_core.linear.interval import Interval
from lirpa_core.methods.base import RowBounds
from lirpa_core.methods.rows import (
    bound_rows,
    in_halves_if_needed,
    linear_row_bounds,
    over_processes,
)
from lirpa_core.methods.rows_as_examples import (
    fold_intervals,
    fold_problem,
    fold_rows,
    fold_sides,
    unfold_form,
)
from lirpa_core.methods.settled import Settled
from lirpa_core.methods.slope_search import SlopeSearch
from lirpa_core.methods.slopes import FreeSlope, KnownSlopes, Slopes, climb, free_slopes, with_slopes
from lirpa_core.methods.together import Together
from lirpa_core.methods.traversal import backward
from lirpa_core.problem.problem import Problem
from lirpa_core.problem.relaxations import Relaxations

#: Live copies of what a row carries through the graph: coefficients, the lines of every curve with
#: what their gradients need, the optimiser's moments.
_COPIES = 12


def searched_rows(
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
    known: KnownSlopes | None = None,
    own: Settled | None = None,
) -> RowBounds:
    """Concrete bounds of rows over a node, with slopes optimised for each side on its own.

    Bounds are, per row and example, the best of all steps. Gradients flow through the bound at the best slopes.

    Args:
        problem: The problem.
        node: The node that the rows are over.
        rows: `R` rows, `[R, B or 1, *S]`.
        intervals: Bounds of the nodes before it.
        search: Settings of the optimiser.
        lower: Whether lower bounds are wanted.
        upper: Whether upper bounds are wanted.
        linear_bounds: Whether the linear bounds at the best slopes are wanted too.
        memory_budget: Bytes that the search may take.
        known: Variables that other searches have made, see `free_slopes`.
        own: What costly rules have chosen; their slopes then stay as they are. None: they move.
    """
    free = free_slopes(problem, intervals, node, known, cheap=own is not None)
    if not free:  # nothing to choose: as CROWN
        relaxations = Relaxations(problem, intervals, Together(intervals, problem.ancestors(node)))
        bound = linear_row_bounds if linear_bounds else partial(bound_rows, memory_budget=memory_budget)
        return bound(problem, node, rows, relaxations, lower=lower, upper=upper)

    def search_part(part: Coefficients) -> RowBounds:
        return _searched(
            problem,
            node,
            part,
            intervals,
            search,
            free,
            own or Settled(),
            lower,
            upper,
            linear_bounds,
            memory_budget,
        )

    if (
        linear_bounds or search.use_shared_alpha
    ):  # processes gather numbers only, and slopes are shared by all rows
        return search_part(rows)
    return over_processes(problem, node, rows, search_part)


def _searched(
    problem: Problem,
    node: str,
    rows: Coefficients,
    intervals: Mapping[str, Interval],
    search: SlopeSearch,
    free: Mapping[str, tuple[FreeSlope, ...]],
    own: Settled,
    lower: bool,
    upper: bool,
    linear_bounds: bool,
    memory_budget: int | None,
) -> RowBounds:
    """See `searched_rows`; the rows, chunk by chunk."""
    sides = lower + upper
    size = max(1, _rows_at_once(problem, node, memory_budget) // max(1, sides))
    lows: list[tuple[Tensor, AffineForm | None]] = []
    ups: list[tuple[Tensor, AffineForm | None]] = []
    done = 0

    def searched(part: Coefficients) -> list[tuple[Tensor, AffineForm | None]]:
        def told(share: float) -> None:
            problem.within((done + share * part.rows) / rows.rows)

        here = _Pass.of(problem, node, part if lower else part.negate(), sides, search)
        value, form = _maximise(here, intervals, free, search, linear_bounds, told, own)
        return list(zip(value.chunk(sides), _halves(form, sides), strict=True))

    starts = range(0, rows.rows, size) if sides else ()
    chunks = (rows.take(start, min(start + size, rows.rows)) for start in starts)
    for part, found in in_halves_if_needed(chunks, searched, problem.device):
        if lower:
            lows.append(found[0])
        if upper:
            ups.append(found[-1])
        done += part.rows
    low, low_form = _together(lows)
    up, up_form = _together(ups)
    return RowBounds(low, None if up is None else -up, low_form, up_form)


def _together(found: list[tuple[Tensor, AffineForm | None]]) -> tuple[Tensor | None, AffineForm | None]:
    """What was found for parts of the rows, of all rows; None for a side that was not wanted."""
    if not found:
        return None, None
    forms = [form for _, form in found if form is not None]
    return torch.cat([value for value, _ in found]), _stacked(forms) if forms else None


def _halves(form: AffineForm | None, sides: int) -> list[AffineForm | None]:
    """A form of the rows of so many sides, side by side."""
    if form is None or sides == 1:
        return [form] * sides
    rows = form.bias.shape[0] // sides
    return [
        AffineForm(
            {name: A.take(i * rows, (i + 1) * rows) for name, A in form.coefficients.items()},
            form.bias[i * rows : (i + 1) * rows],
        )
        for i in range(sides)
    ]


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
        laid_out: The problem that rows travel through: the same, or with `copies * B` examples.
        node: The node that the rows are over.
        rows: The rows, over `copies * B` examples: one for each copy, or `R` where rows share slopes.
        copies: How often each example occurs: once for each row and side, or once for each side.
    """

    problem: Problem
    laid_out: Problem
    node: str
    rows: Coefficients
    copies: int

    @classmethod
    def of(cls, problem: Problem, node: str, rows: Coefficients, sides: int, search: SlopeSearch) -> _Pass:
        """The pass of `R` rows, or with two sides of these and their negation."""
        if not search.use_shared_alpha:
            rows = rows.with_negated() if sides == 2 else rows
            laid_out = fold_problem(problem, rows.rows)
            return cls(problem, laid_out, node, fold_rows(rows, problem.batch), rows.rows)
        if sides == 1:
            return cls(problem, problem, node, rows, 1)
        return cls(problem, fold_problem(problem, 2), node, fold_sides(rows, problem.batch), 2)

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
        """Bounds of the nodes on the way, for the examples of the pass."""
        if self.copies == 1 and self.laid_out is self.problem:
            return intervals
        return fold_intervals(self.problem, intervals, self.problem.ancestors(self.node), self.copies)

    def form(self, relaxations: Relaxations) -> AffineForm:
        """Linear lower bounds by relaxations on laid out intervals: `R` rows of each side."""
        form = backward(self.laid_out, self.node, self.rows, relaxations)
        return form if self.laid_out is self.problem else unfold_form(form, self.copies)

    def bound(self, relaxations: Relaxations) -> Tensor:
        """Lower bounds by relaxations, `[R, B]` of each side."""
        value = self.problem.minimum(self.form(relaxations))
        return value.expand(value.shape[0], self.problem.batch)


def _maximise(
    rows: _Pass,
    intervals: Mapping[str, Interval],
    free: Mapping[str, tuple[FreeSlope, ...]],
    search: SlopeSearch,
    linear_bounds: bool,
    told: Callable[[float], None],
    own: Settled,
) -> tuple[Tensor, AffineForm | None]:
    """The best lower bounds found, `[R, B]` of each side, and linear bounds where these are wanted."""
    laid_out = rows.intervals(intervals)
    fixed = {name: interval.detach() for name, interval in laid_out.items()}
    search_rows = rows.nearest()
    relax = own.laid_out(rows.problem, intervals, rows.copies)
    others = Relaxations(search_rows.laid_out, fixed, relax)
    variables = {name: tuple([v.folded(rows.copies) for v in found]) for name, found in free.items()}

    def bound(chosen: Mapping[str, Slopes]) -> Tensor:
        return search_rows.bound(Relaxations(others.problem, fixed, with_slopes(chosen, others)))

    with torch.enable_grad():
        best, slopes = climb(variables, bound, search, told, rows.copies)
    if not linear_bounds and not torch.is_grad_enabled() and search_rows is rows:
        return best, None
    same = None if torch.is_grad_enabled() else others  # what a rule chooses has a gradient by its box
    form = rows.form(Relaxations(rows.laid_out, laid_out, with_slopes(slopes, same)))
    value = rows.problem.minimum(form)
    if search_rows is rows:
        # What an earlier step was better by has no gradient: the bound's is that of these slopes.
        value = value + (best - value.detach()).clamp(min=0)
    return value, form if linear_bounds else None
