"""Backward linear bounds: CROWN (Zhang et al. 2018), on general graphs (Xu et al. 2020).

Only lower bounds travel. An upper bound of row `a` is the negated lower bound of row `-a`; until
the first relaxation the two are mirror images, and one set of rows stands for both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from lirpa_core.linear.coefficients import Coefficients, add
from lirpa_core.linear.infinite import split_dot, split_dot_infinite
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.methods.backpropagation import backpropagate_relaxation, pull
from lirpa_core.methods.memory import chunks_of_rows
from lirpa_core.problem.problem import Problem
from lirpa_core.problem.relaxations import Relaxations


@dataclass(frozen=True, eq=False)
class LinearForm:
    """Lower bounds that are linear in the leaves: `value ≥ Σ maps[leaf]·leaf + bias`.

    Attributes:
        maps: Coefficients by leaf (or by node where propagation was stopped).
        bias: `[R, B]`; a trailing one is shared by all examples.
    """

    maps: Mapping[str, Coefficients]
    bias: Tensor


@dataclass(frozen=True, eq=False)
class _Pending:
    """Coefficients that wait at a node; `mirrored` rows stand for themselves and their negation."""

    map: Coefficients
    mirrored: bool

    def stacked(self) -> Coefficients:
        return self.map.with_negated() if self.mirrored else self.map

    def plus(self, other: _Pending) -> _Pending:
        if self.mirrored == other.mirrored:
            return _Pending(add(self.map, other.map), self.mirrored)
        return _Pending(add(self.stacked(), other.stacked()), False)


#: `(node, coefficients, mirrored)`: leave coefficients at a node until its turn comes.
_Wait: TypeAlias = Callable[[str, Coefficients, bool], None]


def linear_bounds(
    problem: Problem,
    target: str,
    rows: Coefficients,
    relaxations: Relaxations,
    *,
    both: bool = True,
    stop_at_relaxations: bool = False,
    watch: Callable[[Coefficients], None] | None = None,
) -> LinearForm:
    """Pull rows over a node back to the leaves.

    Args:
        problem: The problem.
        target: The node that the rows are over.
        rows: `R` rows, `[R, B or 1, *S_target]`.
        relaxations: Relaxations of the nodes on the way.
        both: Whether to bound the rows `[rows; −rows]` (lower and upper bounds) or `rows` alone.
        stop_at_relaxations: Stop at nodes that are not affine, as if they were leaves.
        watch: Is shown the coefficients over every node on the way.

    Returns:
        A form with `2R` (or `R`) rows.
    """
    pending = {target: _Pending(rows, both)}
    biases: list[tuple[Tensor, bool]] = []
    maps: dict[str, _Pending] = {}

    def wait(name: str, coefficients: Coefficients, mirrored: bool) -> None:
        new = _Pending(coefficients, mirrored)
        pending[name] = pending[name].plus(new) if name in pending else new
        if watch is not None:
            watch(pending[name].map)

    for name in reversed(list(problem.calls)):
        here = pending.pop(name, None)
        if here is None:
            continue
        if stop_at_relaxations and not problem.rule(name).is_affine(problem.calls[name]):
            maps[name] = here  # asked before relaxing, which may take long
            continue
        relaxation = relaxations[name]
        if relaxation.exact:
            _pull_exact(problem, name, here, relaxation.lower, wait, biases)
        else:
            _pull_split(problem, name, here.stacked(), relaxation, wait, biases)
    maps.update(pending)
    bias = _total(biases)
    if bias is None:
        total = rows.rows * (2 if both else 1)
        bias = torch.zeros(total, 1, dtype=problem.dtype, device=problem.device)
    return LinearForm({name: p.stacked() for name, p in maps.items()}, bias)


def _total(biases: Sequence[tuple[Tensor, bool]]) -> Tensor | None:
    """Sum of the biases, those of mirrored rows first, so that their negation is appended only once."""
    total: Tensor | None = None
    for value in [v for v, mirrored in biases if mirrored]:
        total = value if total is None else total + value
    if total is not None:
        total = torch.cat([total, -total])
    for value in [v for v, mirrored in biases if not mirrored]:
        total = value if total is None else total + value
    return total


def _pull_exact(
    problem: Problem,
    name: str,
    here: _Pending,
    affine: Affine,
    wait: _Wait,
    biases: list[tuple[Tensor, bool]],
) -> None:
    kernels = problem.plan.registry
    operands = problem.calls[name].operands
    for operand, term in zip(operands, affine.terms, strict=True):
        if term is not None:
            wait(operand, pull(term, here.map, kernels), here.mirrored)
    if affine.bias is not None:
        biases.append((here.map.dot(affine.bias), here.mirrored))
    infinite = split_dot_infinite(here.map, affine.infinite, affine.infinite)
    if infinite is not None:
        biases.append((infinite, here.mirrored))


def _pull_split(
    problem: Problem,
    name: str,
    rows: Coefficients,
    relaxation: Relaxation,
    wait: _Wait,
    biases: list[tuple[Tensor, bool]],
) -> None:
    terms, bias = backpropagate_relaxation(relaxation, rows, problem.plan.registry)
    for operand, term in zip(problem.calls[name].operands, terms, strict=True):
        if term is not None:
            wait(operand, term, False)
    if bias is not None:
        biases.append((bias, False))


def concretize(problem: Problem, form: LinearForm, intervals: Mapping[str, Interval] | None = None) -> Tensor:
    """Minimum of a linear form over the perturbation sets.

    Args:
        problem: The problem.
        form: The form.
        intervals: Bounds of the nodes, where propagation stopped before the leaves.

    Returns:
        `[R, B]`.
    """
    value = form.bias
    over_leaves = problem.concretize(form.maps)
    if over_leaves is not None:
        value = value + over_leaves
    for name, coefficients in form.maps.items():
        if name not in problem.leaves:
            assert intervals is not None
            infinite = name in problem.calls and problem.calls[name].infinite
            value = value + split_dot(coefficients, intervals[name], infinite)
    return value.expand(-1, problem.batch) if value.shape[1] == 1 else value


def bound_rows(
    problem: Problem,
    target: str,
    rows: Coefficients,
    relaxations: Relaxations,
    *,
    lower: bool = True,
    upper: bool = True,
    memory_budget: int | None = None,
    stop_at_relaxations: bool = False,
) -> tuple[Tensor | None, Tensor | None]:
    """Concrete bounds of rows over a node, in chunks that fit the memory budget.

    How much a row takes is found by pulling one back, since its coefficients may have structure.

    Returns:
        Lower and upper bounds, `[R, B]` each; None where not asked for.
    """
    lowers, uppers = [], []

    def numbers(row: Coefficients) -> int:
        most = [1]
        with torch.no_grad():
            linear_bounds(
                problem, target, row, relaxations, both=lower and upper,
                stop_at_relaxations=stop_at_relaxations, watch=lambda A: most.append(A.numel),
            )  # fmt: skip
        return max(most)

    for part in chunks_of_rows(problem, rows, memory_budget, numbers):
        start = part if lower else part.negate()
        form = linear_bounds(
            problem, target, start, relaxations, both=lower and upper, stop_at_relaxations=stop_at_relaxations
        )
        value = concretize(problem, form, relaxations.intervals)
        if lower:
            lowers.append(value[: part.rows])
        if upper:
            uppers.append(-value[-part.rows :])
    return (torch.cat(lowers) if lower else None), (torch.cat(uppers) if upper else None)
