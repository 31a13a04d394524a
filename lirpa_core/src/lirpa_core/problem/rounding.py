"""What the rounding of a bound computation adds to its bounds, so that they hold in exact arithmetic.

Coefficients that were computed are the chosen ones: going back through `z = W x + c`, the exact `A W` and the computed
one differ by at most `γ |A| |W|`, so that a bound loses at most `|A|·e` with `e = γ (|W| m + |c|)` and `m` the largest
`|x|` in the interval of `x`. Lines below and above a function have that error in their intercepts, and what computing
them costs, which the test kit allows a rule (`lirpa_testing.tolerance`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from lirpa_core.graph import Shape
from lirpa_core.linear.coefficients import flatten
from lirpa_core.linear.infinite import plus
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import align
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.linear.rounding import gamma, size, tiny, widened, without_overflow
from lirpa_core.problem.problem import Problem

#: Roundings that are not counted one by one: of a subtraction, of a last sum, of an average of two ends.
_FEW = 8


def outward_interval(problem: Problem, name: str, inputs: tuple[Interval, ...]) -> Interval:
    """Bounds of an operator's output that hold in exact arithmetic, from such bounds of its operands.

    The rule is evaluated on operands that moved by as much as its products may be off; what is left, the last sums
    and the underflow, is relative to its result.
    """
    rule, call = problem.rules[name], problem.calls[name]
    accuracy = problem.facts.accuracy[name]
    if accuracy.relative_to == "exact":
        return rule.interval(call, inputs)
    dtype = problem.dtype_of(name)
    factor = gamma(accuracy.terms + _FEW, dtype)
    if call.infinite and accuracy.relative_to == "box":  # midpoints of such boxes are not numbers
        less = [factor * size(x) + tiny(dtype) for x in inputs]
        inputs = tuple([Interval(x.lower - s, x.upper + s) for x, s in zip(inputs, less, strict=True)])
        found = rule.interval(call, inputs)
        found = Interval(found.lower, found.upper)
        more = factor * size(found) + tiny(dtype) * accuracy.terms
        return Interval(found.lower - more, found.upper + more)
    moved = tuple([widened(x, accuracy.relative_to, 2 * factor) for x in inputs])
    least: Tensor | float = tiny(dtype) * accuracy.terms if accuracy.underflows else 0.0
    if call.infinite and accuracy.underflows and len(inputs) == 1 and call.shapes[0] == call.shape:
        least = torch.where(inputs[0].upper.isinf(), 0.0, least)  # what follows from −∞ is exact
    found = widened(rule.interval(call, moved), accuracy.relative_to, factor, least)
    if not call.infinite:
        found = without_overflow(found)
    if accuracy.multiplies and len(inputs) == 2:
        return _with_signs(found, [_aligned(x, call.shape) for x in inputs], tiny(dtype))
    if not accuracy.absolute:
        return found
    slack = _spread([gamma(accuracy.terms, dtype) * size(x) for x in inputs], found.lower)
    return Interval(found.lower - slack, found.upper + slack)


def _aligned(x: Interval, shape: Shape) -> Interval:
    return Interval(align(x.lower.detach(), 1, len(shape)), align(x.upper.detach(), 1, len(shape)))


def _with_signs(found: Interval, factors: list[Interval], least: float) -> Interval:
    """A product's range, whose ends move away from zero by `least` unless the signs of the factors forbid it."""
    x, y = factors
    same = ((x.lower >= 0) & (y.lower >= 0)) | ((x.upper <= 0) & (y.upper <= 0))
    opposite = ((x.lower >= 0) & (y.upper <= 0)) | ((x.upper <= 0) & (y.lower >= 0))
    lower = torch.where(same, found.lower, found.lower - least)
    return Interval(lower, torch.where(opposite, found.upper, found.upper + least))


def _spread(parts: list[Tensor], like: Tensor) -> Tensor:
    """The sum of numbers by operand, broadcast to a shape; the largest of an operand where it does not broadcast."""
    total = like.new_zeros(())
    for part in parts:
        fits = part.dim() <= like.dim() and all(
            n in (1, m) for n, m in zip(reversed(part.shape), reversed(like.shape), strict=False)
        )
        total = total + (part if fits and part.dim() == like.dim() else part.max())
    return total


def with_rounding(
    problem: Problem,
    name: str,
    relaxation: Relaxation,
    intervals: Mapping[str, Interval],
    charged: Mapping[str, Tensor | None],
) -> Relaxation:
    """A relaxation whose lines hold in exact arithmetic, whatever rounding does to coefficients on their way.

    Args:
        problem: The problem.
        name: The operator.
        relaxation: Its relaxation, as computed.
        intervals: Bounds of the operands.
        charged: Errors of operands that are charged here rather than where they arise; None for none.
    """
    call, accuracy = problem.calls[name], problem.facts.accuracy[name]
    users = len(problem.facts.users.get(name, ()))
    with torch.no_grad():
        if relaxation.exact:
            affine = relaxation.lower
            kept = all([problem.dtype_of(o) == problem.dtype_of(name) for o in call.operands])
            if accuracy.relative_to == "exact" and users <= 1 and affine.bias is None and kept:
                return relaxation
            on_the_way, _ = _errors(problem, name, affine, intervals, users)
            return replace(
                relaxation, error=on_the_way, underflow=_underflow(problem, name, [affine], intervals)
            )
        errors: list[Tensor] = []
        sizes: list[Tensor] = []
        for affine in (relaxation.lower, relaxation.upper):
            error, total = _errors(problem, name, affine, intervals, users)
            for term, operand in zip(affine.terms, call.operands, strict=True):
                here = charged.get(operand)
                if here is not None and term is not None:
                    error = error + term.magnitude(here)
            errors.append(error)
            sizes.append(total)
        dtype = coarsest(problem, name)
        scale = torch.maximum(sizes[0], sizes[1])  # of the function too, which lies between the lines
        if accuracy.absolute:
            scale = scale + _spread([size(intervals[o]) for o in call.operands], scale)
        own = gamma(accuracy.terms, dtype) * scale + tiny(dtype) * accuracy.terms
        below, above = errors[0] + own, errors[1] + own
        lost = _underflow(problem, name, [relaxation.lower, relaxation.upper], intervals)
    lower, upper = relaxation.lower, relaxation.upper
    return Relaxation(
        replace(lower, bias=plus(lower.bias, -below)),
        replace(upper, bias=plus(upper.bias, above)),
        underflow=lost,
    )


def coarsest(problem: Problem, name: str) -> torch.dtype:
    """The type with the largest roundoff among those of a node and its operands: coefficients change theirs there."""
    dtypes = [problem.dtype_of(node) for node in (name, *problem.calls[name].operands)]
    return max(dtypes, key=lambda dtype: torch.finfo(dtype).eps)


def _underflow(problem: Problem, name: str, sides: list[Affine], intervals: Mapping[str, Interval]) -> Tensor:
    """What rows lose where their coefficients or products with biases underflow, however small they are: `[B or 1]`."""
    call, dtype = problem.calls[name], coarsest(problem, name)
    lost: Tensor | float = math.prod(call.shape) + _FEW
    for affine in sides:
        for term, operand in zip(affine.terms, call.operands, strict=True):
            if term is not None:
                lost = lost + term.fan_out * flatten(size(intervals[operand]), 1).sum(1)
    return torch.as_tensor(tiny(dtype) * lost, dtype=dtype, device=problem.device).reshape(-1)


def _errors(
    problem: Problem, name: str, affine: Affine, intervals: Mapping[str, Interval], users: int
) -> tuple[Tensor, Tensor]:
    """What rounding does to rows that pass an affine function, and the size of its value: `[B, *S]` each."""
    call, dtype = problem.calls[name], coarsest(problem, name)
    sums = users + 2 * len(problem.calls) + _FEW  # rows that meet at a node, and biases
    total: Tensor | None = None
    fan_out = 1
    for term, operand in zip(affine.terms, call.operands, strict=True):
        if term is not None:
            fan_out = max(fan_out, term.fan_out)
            total = plus(total, term.magnitude(size(intervals[operand])))
    if total is None:
        total = torch.zeros(1, *call.shape, dtype=dtype, device=problem.device)
    error = gamma(fan_out + sums, dtype) * total + tiny(dtype) * (fan_out + sums)
    if affine.bias is not None:
        size_of_bias = affine.bias.abs()
        error = error + gamma(math.prod(call.shape) + sums, dtype) * size_of_bias
        total = total + size_of_bias
    return error, total
