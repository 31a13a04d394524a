"""Intervals of products with what is in a set that is not its box, such as a layer whose weights are in a ball."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from lirpa_core.devices import in_full_precision
from lirpa_core.linear.coefficients import SelectedRows
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.kernels import backpropagate
from lirpa_core.linear.operators import LinearOp
from lirpa_core.linear.rounding import gamma, tiny, widened
from lirpa_core.problem.inputs import PerturbedInput, deviation
from lirpa_core.problem.problem import Problem

#: Bytes of the coefficients that are made at once, unless one row is more.
_BYTES = 2**25

#: Roundings of the last sums, of an average of two ends, and of a radius.
_FEW = 16


def products_with_sets(problem: Problem) -> set[str]:
    """Operators that are not affine and read an input whose set is not its box."""
    if all([member.is_box for member in problem.inputs.values()]):
        return set()
    return {
        name
        for name, call in problem.calls.items()
        if name not in problem.facts.affine_operators
        and any(_in_a_set(problem, operand) is not None for operand in call.operands)
    }


def _in_a_set(problem: Problem, name: str) -> PerturbedInput | None:
    """A perturbed input whose set is not its box."""
    member = problem.inputs.get(name)
    return None if member is None or member.is_box else member


@in_full_precision
def around_sets(problem: Problem, name: str, interval: Interval, found: Mapping[str, Interval]) -> Interval:
    """The interval of an operator around the nominal value of each operand whose set is not its box.

    With `f(x, W)` linear in either, `f(x, W) = f(x, W₀) + f(x, W − W₀)`: the first is bounded over the box of `x`, and the
    second by the largest `f(|x|, |W − W₀|)` over the set. For a ball that is `ε` times the dual norm of the largest
    `|x|`, where the box around the ball has the sum of them.

    Args:
        problem: The problem.
        name: The operator.
        interval: What its rule makes of the intervals of its operands.
        found: The intervals of its operands.

    Returns:
        Its interval, where no rule or no set says anything as it was.
    """
    call, rule, best = problem.calls[name], problem.rules[name], interval
    dtype = problem.facts.dtypes[name]
    for slot, operand in enumerate(call.operands):
        member = _in_a_set(problem, operand)
        if member is None:
            continue
        terms = problem.facts.accuracy[name].terms + math.prod(call.shapes[slot]) + _FEW
        factor = gamma(terms, dtype) if problem.outward else 0.0
        boxes = tuple([found[o] for o in call.operands])
        if problem.outward:  # each number moves by as much as its products may be off
            boxes = tuple([widened(x, "box", 2 * factor) for x in boxes])
        center = member.laid_out(Interval(member.x, member.x)).lower
        parts = rule.around(call, boxes, slot, center)
        if parts is None:
            continue
        fixed, operator = parts
        reach = _deviation(problem, name, operator, member)
        if reach is None:
            continue
        reach = reach * (1 + 4 * factor)
        here = Interval(fixed.lower - reach, fixed.upper + reach)
        if problem.outward:
            here = widened(here, "box", factor, tiny(dtype) * terms)
        # Where something overflowed on its way, nothing is known.
        best = best.intersect(
            Interval(
                torch.where(here.lower.isfinite(), here.lower, -torch.inf),
                torch.where(here.upper.isfinite(), here.upper, torch.inf),
            )
        )
    return best


def _deviation(problem: Problem, name: str, operator: LinearOp, member: PerturbedInput) -> Tensor | None:
    """How far each element of an operator's output may go, `[B or 1, *S]`; None where the set does not say."""
    every = SelectedRows.identity(problem.shape(name), dtype=problem.dtype_of(name), device=problem.device)
    row = math.prod(operator.in_shape) * problem.batch * problem.dtype.itemsize
    size = max(1, _BYTES // max(1, row))
    parts: list[Tensor] = []
    for start in range(0, every.rows, size):
        rows = every.take(start, min(start + size, every.rows))
        part = deviation(member, problem.joint, backpropagate(operator, rows, problem.kernels))
        if part is None:
            return None
        parts.append(part)
    found = torch.cat(parts)  # [R, B]
    columns: Tensor = found.T.reshape(found.shape[1], *problem.shape(name))
    return columns
