"""Forward linear bounds: every node between two affine functions of the leaves (Xu et al. 2020, sec. 3.2)."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_core.linear.coefficients import Coefficients, DenseCoefficients
from lirpa_core.linear.coefficients.base import flatten
from lirpa_core.linear.infinite import apply_infinite, plus
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import LinearOp
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.problem.problem import Problem


@dataclass(frozen=True, eq=False)
class Half:
    """One affine function of the leaves for every element of a node.

    Attributes:
        A: `[N, B, *S]`: coefficients of the `N` elements of all leaves, one after another.
        bias: `[B, *S]`.
        infinite: Infinities of the bias, see `linear.infinite`; None for none.
    """

    A: Tensor
    bias: Tensor
    infinite: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Forms:
    """A node between two affine functions; the same object twice where it is affine itself."""

    lower: Half
    upper: Half


def forward_bounds(
    problem: Problem, given: Mapping[str, Interval] | None = None, wanted: Collection[str] = ()
) -> tuple[dict[str, Interval], dict[str, Forms]]:
    """Propagate affine bounds from the leaves to every perturbed node.

    Args:
        problem: The problem.
        given: Sound intervals to intersect with.
        wanted: Nodes whose affine bounds are the result; those of all others are dropped after their
            last use, because each holds a number for every element of the leaves.

    Returns:
        Intervals of all nodes and affine bounds of the wanted ones, by node name. An interval is the
        tighter of the concretized affine bounds and of what interval propagation gives.
    """
    given = given or {}
    last_use = {operand: name for name, call in problem.calls.items() for operand in call.operands}
    forms = _identities(problem)
    intervals = problem.hulls()
    for name, call in problem.calls.items():
        rule = problem.rule(name)
        interval = rule.interval(call, tuple(intervals[o] for o in call.operands))
        needed = rule.needs_interval(call)
        inputs = tuple(intervals[o] if n else None for o, n in zip(call.operands, needed, strict=True))
        forms[name] = _step(rule.relax(call, inputs), [forms[o] for o in call.operands], problem.shape(name))
        if name not in problem.interval_exact:
            interval = interval.intersect(concretize_forms(problem, forms[name], problem.shape(name)))
        intervals[name] = interval.intersect(given[name]) if name in given else interval
        for operand in set(call.operands) - set(wanted):
            if last_use[operand] == name:
                del forms[operand]
    return intervals, {name: forms[name] for name in wanted}


def _identities(problem: Problem) -> dict[str, Forms]:
    total = sum(math.prod(problem.shape(name)) for name in problem.leaves)
    forms, start = {}, 0
    for name in problem.leaves:
        shape = problem.shape(name)
        size = math.prod(shape)
        A = torch.zeros(total, size, dtype=problem.dtype, device=problem.device)
        A[start : start + size] = torch.eye(size, dtype=problem.dtype, device=problem.device)
        half = Half(A.reshape(total, 1, *shape), A.new_zeros(1, *shape))
        forms[name] = Forms(half, half)
        start += size
    return forms


def _step(relaxation: Relaxation, operands: list[Forms], shape: tuple[int, ...]) -> Forms:
    lower_terms, upper_terms = relaxation.lower.terms, relaxation.upper.terms
    lows: list[Half] = []
    ups: list[Half] = []
    for low, up, x in zip(lower_terms, upper_terms, operands, strict=True):
        if low is up and low is not None:
            a, b = _apply(low, x)
            lows.append(a)
            ups.append(b)
            continue
        if low is not None:
            lows.append(_apply(low, x)[0])
        if up is not None:
            ups.append(_apply(up, x)[1])
    exact = relaxation.exact and all(x.lower is x.upper for x in operands)
    lower = _sum(lows, relaxation.lower, operands, shape)
    return Forms(lower, lower if exact else _sum(ups, relaxation.upper, operands, shape))


def _apply(op: LinearOp, x: Forms) -> tuple[Half, Half]:
    low, up = apply_infinite(op, x.lower.infinite, x.upper.infinite)
    if x.lower is x.upper:
        half = Half(op.apply(x.lower.A, 2), op.apply(x.lower.bias, 1), low)
        return half, half
    A_low, A_up = op.apply_split(x.lower.A, x.upper.A, 2)
    b_low, b_up = op.apply_split(x.lower.bias, x.upper.bias, 1)
    return Half(A_low, b_low, low), Half(A_up, b_up, up)


def _sum(halves: list[Half], affine: Affine, operands: list[Forms], shape: tuple[int, ...]) -> Half:
    bias, infinite = affine.bias, affine.infinite
    if not halves:
        A = operands[0].lower.A
        zero = A.new_zeros(A.shape[0], 1, *shape)
        return Half(zero, zero[0] if bias is None else bias, infinite)
    A, b = halves[0].A, halves[0].bias
    for half in halves[1:]:
        A, b = A + half.A, b + half.bias
    for half in halves:
        infinite = plus(infinite, half.infinite)
    return Half(A, b if bias is None else b + bias, infinite)


def concretize_forms(problem: Problem, forms: Forms, shape: tuple[int, ...]) -> Interval:
    """Bounds of a node from its affine functions, `[B, *S]`."""
    lower = _minimum(problem, forms.lower.A, shape) + forms.lower.bias
    upper = forms.upper.bias - _minimum(problem, -forms.upper.A, shape)
    if forms.lower.infinite is not None:
        lower = lower + forms.lower.infinite
    if forms.upper.infinite is not None:
        upper = upper + forms.upper.infinite
    return Interval(lower, upper)


def _minimum(problem: Problem, A: Tensor, shape: tuple[int, ...]) -> Tensor:
    rows = flatten(A, 2).permute(2, 1, 0)  # [R, B, N], R = elements of the node
    maps: dict[str, Coefficients] = {}
    start = 0
    for name, leaf in problem.leaves.items():
        size = math.prod(problem.shape(name))
        part = rows[:, :, start : start + size].reshape(*rows.shape[:2], *problem.shape(name))
        maps[name] = DenseCoefficients(part.to(leaf.x.dtype))
        start += size
    value = problem.concretize(maps)
    assert value is not None
    return value.T.reshape(-1, *shape)
