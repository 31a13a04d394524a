"""Rows as examples: a problem in which every pair of a row and an example is an example of its own.

Whatever a traversal or a rule does for each example it then does for each row of each example, without
knowing. So a row can have slopes of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor

from lirpa_core.linear.affine import AffineForm
from lirpa_core.linear.coefficients import Coefficients, DenseCoefficients, SelectedRows
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import Diagonal, LinearOp
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.problem.problem import Problem
from lirpa_core.rules.call import Call, Const


def fold_problem(problem: Problem, rows: int) -> Problem:
    """The problem with `rows * B` examples, row by row. Its inputs stay, so it cannot be concretized."""
    calls = {name: _fold_call(call, rows) for name, call in problem.calls.items()}
    return dataclasses.replace(problem, calls=calls, batch=rows * problem.batch)


def fold_intervals(
    problem: Problem, intervals: Mapping[str, Interval], names: frozenset[str], rows: int
) -> dict[str, Interval]:
    """The intervals that the rules of the named nodes and their rounding read, `[B, *S]`, as `[rows * B, *S]`."""
    needs = problem.facts.needs_interval
    read = {
        operand
        for name, call in problem.calls.items()
        if name in names
        for operand, need in zip(call.operands, needs[name], strict=True)
        if need or problem.outward
    }
    return {
        name: Interval(_repeat(intervals[name].lower, rows), _repeat(intervals[name].upper, rows))
        for name in read
    }


def fold_rows(rows: Coefficients, batch: int) -> Coefficients:
    """`R` rows over a node as one row `[1, R * B]`."""
    if isinstance(rows, SelectedRows):
        shape = (rows.rows, batch)
        index, scale = rows.index.expand(shape), rows.values.expand(shape)
        return SelectedRows(index.reshape(1, -1), scale.reshape(1, -1), rows.shape)
    A = rows.to_dense()
    return DenseCoefficients(A.expand(-1, batch, *rows.shape).reshape(1, -1, *rows.shape))


def fold_sides(rows: Coefficients, batch: int) -> Coefficients:
    """`R` rows over a node and their negation, `[R, 2 * B]`: the examples once for each side."""
    if isinstance(rows, SelectedRows):
        shape = (rows.rows, batch)
        index, scale = rows.index.expand(shape), rows.values.expand(shape)
        return SelectedRows(torch.cat([index, index], 1), torch.cat([scale, -scale], 1), rows.shape)
    A = rows.to_dense().expand(-1, batch, *rows.shape)
    return DenseCoefficients(torch.cat([A, -A], 1))


def unfold_form(form: AffineForm, copies: int) -> AffineForm:
    """A form of `R` rows and `copies * B` examples as one of `copies * R` rows and `B` examples."""

    def unfold(A: Tensor) -> Tensor:
        wide = A if A.shape[1] > 1 else A.expand(-1, copies, *A.shape[2:])
        apart = wide.reshape(A.shape[0], copies, -1, *A.shape[2:])
        return apart.transpose(0, 1).reshape(A.shape[0] * copies, -1, *A.shape[2:])

    coefficients: dict[str, Coefficients] = {
        name: DenseCoefficients(unfold(A.to_dense())) for name, A in form.coefficients.items()
    }
    return AffineForm(coefficients, unfold(form.bias))


def fold_relaxation(relaxation: Relaxation, rows: int) -> Relaxation | None:
    """The relaxation of `rows * B` examples, row by row; None where an operator in it cannot be repeated."""
    lower = _fold_affine(relaxation.lower, rows)
    upper = lower if relaxation.exact else _fold_affine(relaxation.upper, rows)
    return None if lower is None or upper is None else Relaxation(lower, upper)


def _fold_affine(affine: Affine, rows: int) -> Affine | None:
    terms = [None if term is None else fold_operator(term, rows) for term in affine.terms]
    if any((new is None) is not (old is None) for new, old in zip(terms, affine.terms, strict=True)):
        return None
    bias, infinite = (None if x is None else _repeat(x, rows) for x in (affine.bias, affine.infinite))
    return Affine(tuple(terms), bias, infinite)


@singledispatch
def fold_operator(op: LinearOp, rows: int) -> LinearOp | None:
    """The operator of `rows * B` examples; None for a kind of which nothing is known. Open to more kinds."""
    return None


@fold_operator.register
def _(op: Diagonal, rows: int) -> LinearOp:
    return Diagonal(_repeat(op.slope, rows), op.shape)


def _fold_call(call: Call, rows: int) -> Call:
    def fold(value: Any) -> Any:
        if isinstance(value, Const) and value.batched:
            return Const(_repeat(value.value, rows), batched=True)
        if isinstance(value, tuple):
            return tuple(fold(v) for v in value)
        return value

    arguments = {name: fold(value) for name, value in call.arguments.items()}
    return dataclasses.replace(call, arguments=arguments, batch=rows * call.batch)


def _repeat(x: Tensor, rows: int) -> Tensor:
    return x if x.shape[0] == 1 else x.repeat(rows, *[1] * (x.dim() - 1))
