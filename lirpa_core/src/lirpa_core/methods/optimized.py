"""Backward bounds with optimised slopes: α-CROWN (Xu et al. 2021, "Fast and Complete"), for any curve.

A line is sound whatever its slope is, because its intercept follows from the slope. So the slopes
of all lines are free variables, and every step of an optimiser gives a bound that holds. Each row of
each example has slopes of its own, unless memory or an option says that the rows share them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

from lirpa_core.api.options import SlopeSearch
from lirpa_core.linear.coefficients import Coefficients
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.relaxation import Relaxation
from lirpa_core.methods.backward import concretize, linear_bounds
from lirpa_core.methods.memory import free_share
from lirpa_core.methods.rows_as_examples import fold_intervals, fold_problem, fold_rows, unfold_form
from lirpa_core.problem.problem import Problem
from lirpa_core.problem.relaxations import Relaxations
from lirpa_core.rules.call import Call

#: Live copies of what a row carries through the graph: coefficients, the lines of every curve with
#: what their gradients need, the optimiser's moments.
_COPIES = 12

#: Slopes `(lower, upper)` of a node's lines, `[B, *S]` each.
Slopes: TypeAlias = tuple[Tensor, Tensor]


@runtime_checkable
class Sloped(Protocol):
    """A rule whose lines can be given slopes, as every rule of the unary family."""

    def slope_ranges(self, call: Call, inputs: tuple[Interval | None, ...]) -> tuple[Slopes, Slopes]:
        """The least and the greatest slope worth a try, of the lower and of the upper line."""

    def slopes(self, call: Call, inputs: tuple[Interval | None, ...]) -> Slopes:
        """The slopes that `relax` chooses."""

    def relax_with(
        self, call: Call, inputs: tuple[Interval | None, ...], k_lo: Tensor, k_up: Tensor
    ) -> Relaxation:
        """The tightest lines of the given slopes."""


@dataclass(frozen=True, eq=False)
class SlopedRelaxations(Relaxations):
    """Relaxations with given slopes, where the rule can take some.

    Attributes:
        chosen: Slopes by node name.
    """

    chosen: Mapping[str, Slopes] = field(default_factory=dict)

    def relax(self, name: str) -> Relaxation:
        if name not in self.chosen:
            return super().relax(name)
        rule = self.problem.rule(name)
        assert isinstance(rule, Sloped)
        return rule.relax_with(self.problem.calls[name], self.inputs(name), *self.chosen[name])


def optimized_rows(
    problem: Problem,
    target: str,
    rows: Coefficients,
    intervals: Mapping[str, Interval],
    search: SlopeSearch,
    *,
    lower: bool = True,
    upper: bool = True,
    memory_budget: int | None = None,
) -> tuple[Tensor | None, Tensor | None]:
    """Concrete bounds of rows over a node, with slopes optimised for each side on its own.

    Args:
        problem: The problem.
        target: The node that the rows are over.
        rows: `R` rows.
        intervals: Bounds of the inner nodes; they stay as they are.
        search: Settings of the optimiser.
        lower: Whether lower bounds are wanted.
        upper: Whether upper bounds are wanted.
        memory_budget: Bytes that coefficients and slopes may take.

    Returns:
        Lower and upper bounds, `[R, B]` each: per row and example the best of all steps. Gradients
        flow through the bound at the best slopes found.
    """

    def side(signed: Coefficients) -> Tensor:
        size = _rows_at_once(problem, target, memory_budget)
        parts = [signed.take(i, min(i + size, signed.rows)) for i in range(0, signed.rows, size)]
        return torch.cat([_maximize(_Pass.of(problem, target, p, search), intervals, search) for p in parts])

    return (side(rows) if lower else None), (-side(rows.negate()) if upper else None)


def _rows_at_once(problem: Problem, target: str, memory_budget: int | None) -> int:
    """How many rows fit: each leaves a copy of everything on its way, for the gradient."""
    needed = problem.ancestors(target)
    elements = sum(math.prod(problem.shape(name)) for name in needed)
    bytes_of_a_row = elements * problem.batch * problem.dtype.itemsize * _COPIES
    budget = free_share(problem.device) if memory_budget is None else memory_budget
    return max(1, budget // max(1, bytes_of_a_row))


@dataclass(frozen=True, eq=False)
class _Pass:
    """Rows over a target, laid out so that what is an example to the engine has slopes of its own.

    Attributes:
        problem: The user's problem.
        laid_out: The problem that rows travel through: the same, or with `R * B` examples.
        target: The node that the rows are over.
        rows: `R` rows of the one, or one row of the other.
        folded: Number of rows folded into the examples; None where they are shared.
    """

    problem: Problem
    laid_out: Problem
    target: str
    rows: Coefficients
    folded: int | None

    @classmethod
    def of(cls, problem: Problem, target: str, rows: Coefficients, search: SlopeSearch) -> _Pass:
        if search.use_shared_alpha:
            return cls(problem, problem, target, rows, None)
        laid_out = fold_problem(problem, rows.rows)
        return cls(problem, laid_out, target, fold_rows(rows, problem.batch), rows.rows)

    def intervals(self, intervals: Mapping[str, Interval]) -> Mapping[str, Interval]:
        if self.folded is None:
            return intervals
        return fold_intervals(self.problem, intervals, self.problem.ancestors(self.target), self.folded)

    def bound(self, slopes: Mapping[str, Slopes], intervals: Mapping[str, Interval]) -> Tensor:
        """Lower bounds `[R, B]` with these slopes, on laid out intervals."""
        relaxations = SlopedRelaxations(self.laid_out, intervals, chosen=slopes)
        form = linear_bounds(self.laid_out, self.target, self.rows, relaxations, both=False)
        return concretize(self.problem, form if self.folded is None else unfold_form(form, self.folded))


def _maximize(rows: _Pass, intervals: Mapping[str, Interval], search: SlopeSearch) -> Tensor:
    """The best lower bounds found, `[R, B]`."""
    laid_out = rows.intervals(intervals)
    fixed = {name: interval.detach() for name, interval in laid_out.items()}
    free = _free_slopes(Relaxations(rows.laid_out, fixed), rows.target)
    if not free:
        return rows.bound({}, laid_out)
    with torch.enable_grad():
        best, slopes = _climb(free, lambda chosen: rows.bound(chosen, fixed), search)
    return _larger(best, rows.bound(slopes, laid_out)) if torch.is_grad_enabled() else best


def _larger(best: Tensor, again: Tensor) -> Tensor:
    """The larger one, with the gradient of `again` wherever it is finite: `maximum` would halve it where both agree."""
    moves = torch.where(again.isfinite(), again - again.detach(), 0)
    return torch.where(best > again, best + moves, again)


@dataclass(frozen=True, eq=False)
class _Free:
    """The slopes of one line of every element of a node, as places in the range worth a try.

    Attributes:
        default: The rule's own slope `[B, *S]`, kept where the range is a single slope.
        least: Lower end of the range.
        span: Its length; zero where there is nothing to choose.
        place: The variable, from 0 to 1.
    """

    default: Tensor
    least: Tensor
    span: Tensor
    place: Tensor

    @classmethod
    def of(cls, default: Tensor, limits: Slopes, shape: Sequence[int]) -> _Free:
        default, least, greatest = (k.detach().expand(shape) for k in (default, *limits))
        least, greatest = least.minimum(default), greatest.maximum(default)
        span = torch.where((greatest - least).isfinite(), greatest - least, 0)
        place = torch.where(span > 0, (default - least) / torch.where(span > 0, span, 1), 0)
        return cls(default, least, span, place.requires_grad_())

    def slope(self) -> Tensor:
        return torch.where(self.span > 0, self.least + self.span * self.place, self.default)


#: The two lines of a node.
_Pair: TypeAlias = tuple[_Free, _Free]


def _free_slopes(relaxations: Relaxations, target: str) -> dict[str, _Pair]:
    """Variables for all nodes on the way to the target, at their rules' default slopes."""
    problem = relaxations.problem
    needed = problem.ancestors(target)
    free: dict[str, _Pair] = {}
    for name, call in problem.calls.items():
        rule, shape = problem.rule(name), (problem.batch, *problem.shape(name))
        if name not in needed or not isinstance(rule, Sloped) or call.shapes != (call.shape,):
            continue
        inputs = relaxations.inputs(name)
        low, up = (
            _Free.of(k, limits, shape)
            for k, limits in zip(rule.slopes(call, inputs), rule.slope_ranges(call, inputs), strict=True)
        )
        free[name] = (low, up)
    return free


def _climb(
    free: Mapping[str, _Pair], bound: Callable[[Mapping[str, Slopes]], Tensor], search: SlopeSearch
) -> tuple[Tensor, dict[str, Slopes]]:
    """Gradient ascent on the sum of the bounds; every step's bounds hold, so the best of each counts.

    Returns:
        The best bounds `[R, B]`, and the slopes that gave them, without gradient: those of each row
        and example's best step, or where slopes are shared, those of the step with the best sum.
    """
    places = [line.place for pair in free.values() for line in pair]
    optimizer = torch.optim.Adam(places, lr=search.lr_alpha)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, search.lr_decay)
    best: Tensor | None = None
    record = torch.empty(0)  # the bounds that `kept` gives
    kept: dict[str, Slopes] = {}
    for step in range(search.iteration + 1):
        chosen = {name: (low.slope(), up.slope()) for name, (low, up) in free.items()}
        value = bound(chosen)
        found = value.detach()
        if best is None:
            best = record = found
            kept = {name: (low.detach(), up.detach()) for name, (low, up) in chosen.items()}
        else:
            best = best.maximum(found)
            better = (found.sum() > record.sum()).reshape(1, 1) if search.use_shared_alpha else found > record
            record = torch.where(better, found, record)
            kept = {name: _replaced(kept[name], chosen[name], better.flatten()) for name in kept}
        if step < search.iteration:
            optimizer.zero_grad()
            (-value.sum()).backward(inputs=places)
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                for place in places:
                    place.clamp_(0, 1)
    assert best is not None
    return best, kept


def _replaced(old: Slopes, new: Slopes, better: Tensor) -> Slopes:
    """The new slopes of those examples that are better, `[B]` or `[1]`."""
    mask = better.reshape(-1, *[1] * (old[0].dim() - 1))
    low, up = (torch.where(mask, n.detach(), o) for n, o in zip(new, old, strict=True))
    return low, up
