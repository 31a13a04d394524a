"""From a problem and a method to bounds of one node."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_core.api.options import SlopeSearch
from lirpa_core.linear.coefficients import Coefficients, DenseCoefficients, SelectedRows
from lirpa_core.linear.coefficients.base import flatten
from lirpa_core.linear.infinite import split_dot, split_dot_infinite
from lirpa_core.linear.interval import Interval
from lirpa_core.methods.backward import LinearForm, bound_rows, concretize, linear_bounds
from lirpa_core.methods.forward import Forms, forward_bounds
from lirpa_core.methods.ibp import interval_bounds
from lirpa_core.methods.intermediate import backward_intervals
from lirpa_core.methods.methods import Method
from lirpa_core.methods.optimized import optimized_rows
from lirpa_core.problem.problem import Problem
from lirpa_core.problem.relaxations import Relaxations


@dataclass(frozen=True, eq=False)
class Intermediate:
    """Bounds of the inner nodes, from which the output's follow.

    Attributes:
        intervals: By node name, `[B, *S]`.
        forms: Affine functions of the wanted nodes, where the forward engine computed them.
    """

    intervals: dict[str, Interval]
    forms: dict[str, Forms] | None = None


@dataclass(frozen=True, eq=False)
class RowBounds:
    """Bounds of specification rows over one node.

    Attributes:
        lower: `[R, B]`, None where not asked for.
        upper: `[R, B]`, None where not asked for.
        lower_form: Linear lower bounds, where the method has them and they were asked for.
        upper_form: Linear upper bounds, negated: `−upper ≥ form`.
    """

    lower: Tensor | None
    upper: Tensor | None
    lower_form: LinearForm | None = None
    upper_form: LinearForm | None = None


def intermediate_bounds(
    problem: Problem,
    method: Method,
    wanted: Collection[str] = (),
    given: Mapping[str, Interval] | None = None,
    memory_budget: int | None = None,
    search: SlopeSearch | None = None,
) -> Intermediate:
    """Bounds of the inner nodes by the method's intermediate engine.

    Args:
        problem: The problem.
        method: Its intermediate engine is used.
        wanted: Nodes whose bounds are wanted besides those that relaxations need.
        given: Sound intervals to intersect with.
        memory_budget: Bytes that coefficients may take.
        search: How the method that optimises slopes does so.
    """
    if method.intermediate == "interval":
        return Intermediate(interval_bounds(problem, wanted, given, memory_budget))
    if method.intermediate == "forward":
        kept = wanted if method.final == "forward" else ()
        return Intermediate(*forward_bounds(problem, given, kept))
    if method.final == "optimized" and search is not None and not search.fix_interm_bounds:
        # Inner layers have too many rows for slopes of their own.
        shared = dataclasses.replace(search, use_shared_alpha=True)
        return Intermediate(backward_intervals(problem, given, memory_budget, shared))
    return Intermediate(backward_intervals(problem, given, memory_budget))


def row_bounds(
    problem: Problem,
    method: Method,
    target: str,
    inner: Intermediate,
    rows: Coefficients | None = None,
    *,
    lower: bool = True,
    upper: bool = True,
    forms: bool = False,
    memory_budget: int | None = None,
    search: SlopeSearch | None = None,
) -> RowBounds:
    """Bounds of rows over a node, given the bounds of the nodes before it.

    Args:
        problem: The problem.
        method: Its final engine is used.
        target: The node.
        inner: Bounds of the inner nodes, the target included.
        rows: `R` specification rows; None: every element of the node.
        lower: Whether lower bounds are wanted.
        upper: Whether upper bounds are wanted.
        forms: Whether the linear bounds are wanted too.
        memory_budget: Bytes that coefficients may take.
        search: How the method that optimises slopes does so.
    """
    if rows is None:
        simple = _as_rows(inner.intervals[target], problem.batch)
        if method.final == "interval":
            return RowBounds(simple.lower if lower else None, simple.upper if upper else None)
        rows = SelectedRows.identity(
            problem.shape(target), dtype=problem.dtype_of(target), device=problem.device
        )
    else:
        infinite = target in problem.calls and problem.calls[target].infinite
        simple = _from_interval(rows, inner.intervals[target], infinite)
    low: Tensor | None
    up: Tensor | None
    lower_form: LinearForm | None = None
    upper_form: LinearForm | None = None
    if method.final == "forward":
        assert inner.forms is not None
        low, up, lower_form, upper_form = _forward_rows(problem, inner.forms[target], rows)
    elif forms:
        lower_form, upper_form = _backward_forms(problem, target, rows, inner, lower=lower, upper=upper)
        low = None if lower_form is None else concretize(problem, lower_form)
        up = None if upper_form is None else -concretize(problem, upper_form)
    elif method.final == "optimized":
        low, up = optimized_rows(
            problem, target, rows, inner.intervals, search or SlopeSearch(),
            lower=lower, upper=upper, memory_budget=memory_budget,
        )  # fmt: skip
    else:
        low, up = bound_rows(
            problem,
            target,
            rows,
            Relaxations(problem, inner.intervals),
            lower=lower,
            upper=upper,
            memory_budget=memory_budget,
            stop_at_relaxations=method.final == "interval",
        )
    return RowBounds(
        low.maximum(simple.lower) if lower and low is not None else None,
        up.minimum(simple.upper) if upper and up is not None else None,
        lower_form,
        upper_form,
    )


def _as_rows(interval: Interval, batch: int) -> Interval:
    """`[B, *S]` as the bounds of all elements, `[R, B]`."""

    def lay_out(end: Tensor) -> Tensor:
        return end.reshape(end.shape[0], -1).T.expand(-1, batch)

    return Interval(lay_out(interval.lower), lay_out(interval.upper))


def _from_interval(rows: Coefficients, interval: Interval, infinite: bool) -> Interval:
    lower = split_dot(rows, interval, infinite)
    return Interval(lower, -split_dot(rows.negate(), interval, infinite))


def _backward_forms(
    problem: Problem, target: str, rows: Coefficients, inner: Intermediate, *, lower: bool, upper: bool
) -> tuple[LinearForm | None, LinearForm | None]:
    relaxations = Relaxations(problem, inner.intervals)
    sides = [rows if side == "lower" else rows.negate() for side in _sides(lower, upper)]
    found = [linear_bounds(problem, target, side, relaxations, both=False) for side in sides]
    return (found[0] if lower else None), (found[-1] if upper else None)


def _sides(lower: bool, upper: bool) -> list[str]:
    return ["lower"] * lower + ["upper"] * upper


def _forward_rows(
    problem: Problem, forms: Forms, rows: Coefficients
) -> tuple[Tensor, Tensor, LinearForm, LinearForm]:
    C = flatten(rows.to_dense(), 2)  # [R, B or 1, n]
    lower = _combine(problem, C, forms, rows)
    upper = _combine(problem, -C, forms, rows)
    return concretize(problem, lower), -concretize(problem, upper), lower, upper


def _combine(problem: Problem, C: Tensor, forms: Forms, rows: Coefficients) -> LinearForm:
    """`C⁺·lower + C⁻·upper` as a form over the leaves."""
    batch = max(C.shape[1], forms.lower.A.shape[1], forms.upper.A.shape[1])
    positive, negative = C.clamp(min=0), C.clamp(max=0)

    def times(side: Tensor, A: Tensor) -> Tensor:
        A = flatten(A, 2).expand(-1, batch, -1)  # [N, B, n]
        return torch.einsum("rbn,mbn->rbm", side.expand(-1, batch, -1), A)

    A = times(positive, forms.lower.A) + times(negative, forms.upper.A)  # [R, B, N]
    dense = DenseCoefficients(C.reshape(*C.shape[:2], *rows.shape))
    bias = dense.split_dot(forms.lower.bias, forms.upper.bias)
    infinite = split_dot_infinite(dense, forms.lower.infinite, forms.upper.infinite)
    bias = bias if infinite is None else bias + infinite
    maps: dict[str, Coefficients] = {}
    start = 0
    for name in problem.leaves:
        shape = problem.shape(name)
        size = math.prod(shape)
        maps[name] = DenseCoefficients(A[:, :, start : start + size].reshape(*A.shape[:2], *shape))
        start += size
    return LinearForm(maps, bias)
