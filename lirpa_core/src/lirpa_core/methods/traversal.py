"""One traversal each way: intervals forward, rows of coefficients backward (affine functions: `forward_traversal`).

Every method is made of these functions. Backward, only lower bounds travel: an upper bound of row `a` is the
negated lower bound of row `-a`. Until the first relaxation the two are mirror images, and one set of rows stands for
both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from lirpa_core.devices import in_full_precision
from lirpa_core.linear.affine import AffineForm
from lirpa_core.linear.coefficients import Coefficients, add
from lirpa_core.linear.infinite import plus, split_dot_infinite
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.kernels import backpropagate, backpropagate_relaxation
from lirpa_core.problem.problem import Problem
from lirpa_core.problem.relaxations import Relaxations
from lirpa_core.problem.rounding import outward_interval
from lirpa_core.problem.sets import around_sets, products_with_sets

#: Is told the operator that is about to be bounded; may tighten the intervals of nodes before it.
Refine: TypeAlias = Callable[[str], None]


@in_full_precision
def intervals(
    problem: Problem,
    given: Mapping[str, Interval] | None = None,
    refine: Refine | None = None,
    found: dict[str, Interval] | None = None,
) -> dict[str, Interval]:
    """Interval arithmetic from the inputs to every perturbed node (Gowal et al. 2018; Mirman et al. 2018).

    Args:
        problem: The problem.
        given: Sound intervals to intersect with, by node name.
        refine: Is called before each operator; may tighten intervals in `found`.
        found: The dictionary to fill, for a `refine` or relaxations that read it meanwhile; default: a new one.

    Returns:
        Intervals by node name, inputs included, `[B, *S]`.
    """
    found = {} if found is None else found
    found.update(problem.hulls())
    rules, products = problem.rules, products_with_sets(problem)
    for name, call in problem.calls.items():
        if refine is not None:
            refine(name)
        operands = tuple([found[o] for o in call.operands])
        outward = problem.outward
        interval = (
            outward_interval(problem, name, operands) if outward else rules[name].interval(call, operands)
        )
        if name in products:
            interval = around_sets(problem, name, interval, found)
        found[name] = interval.intersect(given[name]) if given and name in given else interval
    return found


@in_full_precision
def backward(
    problem: Problem,
    node: str,
    rows: Coefficients,
    relaxations: Relaxations,
    *,
    both: bool = False,
    stop_at: Collection[str] = (),
    at_nodes: Collection[str] = (),
    extra: Mapping[str, Coefficients] | None = None,
    watch: Callable[[Coefficients], None] | None = None,
) -> AffineForm:
    """Backpropagate rows over a node to the inputs (CROWN, Zhang et al. 2018; general graphs, Xu et al. 2020).

    Args:
        problem: The problem.
        node: The node that the rows are over.
        rows: `R` rows, `[R, B or 1, *S_node]`.
        relaxations: Relaxations of the operators on the way.
        both: Whether to bound the rows `[rows; −rows]` (lower and upper bounds) or `rows` alone.
        stop_at: Nodes to stop at, as if they were inputs.
        at_nodes: Nodes whose coefficients are handed out in `at_nodes` of the result.
        extra: Rows to add at inner nodes when their turn comes, such as multipliers of constraints on neurons; they
            must have as many rows as travel (`2R` with `both`).
        watch: Is shown the coefficients over every node on the way.

    Returns:
        Lower bounds of the rows, a form of `R` rows (`2R` with `both`) over the inputs and the nodes stopped at.
    """
    kernels, calls = problem.kernels, problem.calls
    # Rows that wait at a node until its turn comes, and whether they are mirrored: stand for their negation too.
    pending: dict[str, _Waiting] = {node: (rows, both)}
    stopped: dict[str, _Waiting] = {}
    seen: dict[str, Coefficients] = {}
    sums: dict[bool, Tensor] = {}  # biases of mirrored rows, and of others
    errors: dict[bool, Tensor] = {}  # what rounding takes off, from both of two mirrored rows
    lost: Tensor | None = None  # what underflow takes off, from every row: [B or 1]
    for name in problem.facts.reversed_order:
        if extra is not None and name in extra:
            pending[name] = _joined(pending.get(name), (extra[name], False))
        waiting = pending.pop(name, None)
        if waiting is None:
            continue
        if at_nodes and name in at_nodes:
            seen[name] = _stacked(waiting)
        if stop_at and name in stop_at:
            stopped[name] = waiting
            continue
        relaxation = relaxations[name]
        A, mirrored = waiting
        if relaxation.error is not None and (
            name not in problem.facts.charged_by_users or name == node or name in (extra or ())
        ):
            _accumulate(errors, mirrored, A.dual_norm(1, relaxation.error).detach())
        if relaxation.underflow is not None:
            lost = relaxation.underflow if lost is None else lost + relaxation.underflow
        moved: Sequence[Coefficients | None]
        if relaxation.exact:
            affine = relaxation.lower
            moved = [None if term is None else backpropagate(term, A, kernels) for term in affine.terms]
            bias = None if affine.bias is None else A.dot(affine.bias)
            if affine.infinite is not None:
                bias = plus(bias, split_dot_infinite(A, affine.infinite, affine.infinite))
        else:
            moved, bias = backpropagate_relaxation(relaxation, A, kernels, mirrored=mirrored)
            mirrored = False
        if bias is not None:
            _accumulate(sums, mirrored, bias)
        for operand, B in zip(calls[name].operands, moved, strict=True):
            if B is None:
                continue
            pending[operand] = (
                _joined(pending[operand], (B, mirrored)) if operand in pending else (B, mirrored)
            )
            if watch is not None:
                watch(pending[operand][0])
    stopped.update(pending)
    total = _total(sums, errors)
    if total is None:
        total = torch.zeros(rows.rows * (2 if both else 1), 1, dtype=problem.dtype, device=problem.device)
    total = total if lost is None else total - lost
    return AffineForm({name: _stacked(waiting) for name, waiting in stopped.items()}, total, seen)


#: Coefficients that wait at a node, and whether they stand for themselves and their negation.
_Waiting: TypeAlias = tuple[Coefficients, bool]


def _accumulate(sums: dict[bool, Tensor], mirrored: bool, part: Tensor) -> None:
    sums[mirrored] = sums[mirrored] + part if mirrored in sums else part


def _total(sums: Mapping[bool, Tensor], errors: Mapping[bool, Tensor]) -> Tensor | None:
    """The biases of all rows, less what rounding takes off; by whether they belong to mirrored rows."""
    total = sums.get(False)
    if True in sums:
        total = plus(total, torch.cat([sums[True], -sums[True]]))
    for mirrored, error in errors.items():
        total = plus(total, -torch.cat([error, error]) if mirrored else -error)
    return total


def _stacked(waiting: _Waiting) -> Coefficients:
    return waiting[0].with_negated() if waiting[1] else waiting[0]


def _joined(first: _Waiting | None, second: _Waiting) -> _Waiting:
    if first is None:
        return second
    if first[1] == second[1]:
        return add(first[0], second[0]), first[1]
    return add(_stacked(first), _stacked(second)), False
