"""What the rounding of a bound computation adds to its bounds, so that they hold in exact arithmetic.

Coefficients that were computed are the chosen ones: going back through `z = W x + c`, the exact `A W` and the computed
one differ by at most `γ |A| |W|`, so that a bound loses at most `|A|·e` with `e = γ (|W| m + |c|)` and `m` the largest
`|x|` in the interval of `x`. Lines below and above a function have that error in their intercepts, and what computing
them costs, which the test kit allows a rule (`lirpa_testing.tolerance`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from lirpa_core.graph import Shape
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import align
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.linear.rounding import gamma, tiny, widened, without_overflow
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
    dtype = problem.facts.dtypes[name]
    factor = gamma(accuracy.terms + _FEW, dtype)
    if call.infinite and accuracy.relative_to == "box":  # midpoints of such boxes are not numbers
        less = [factor * x.size + tiny(dtype) for x in inputs]
        inputs = tuple([Interval(x.lower - s, x.upper + s) for x, s in zip(inputs, less, strict=True)])
        found = rule.interval(call, inputs)
        found = Interval(found.lower, found.upper)
        more = factor * found.size + (tiny(dtype) * accuracy.terms + (factor if accuracy.unit else 0.0))
        return Interval(found.lower - more, found.upper + more)
    if len(inputs) == 1:
        moved: tuple[Interval, ...] = (widened(inputs[0], accuracy.relative_to, 2 * factor),)
    else:
        moved = tuple([widened(x, accuracy.relative_to, 2 * factor) for x in inputs])
    least: Tensor | float = tiny(dtype) * accuracy.terms if accuracy.underflows else 0.0
    if call.infinite and accuracy.underflows and len(inputs) == 1 and call.shapes[0] == call.shape:
        least = torch.where(inputs[0].upper.isinf(), 0.0, least)  # what follows from −∞ is exact
    found = widened(rule.interval(call, moved), accuracy.relative_to, factor, least)
    if not call.infinite:
        found = without_overflow(found)
    if accuracy.multiplies and len(inputs) == 2:
        return _with_signs(found, [_aligned(x, call.shape) for x in inputs], tiny(dtype))
    if accuracy.unit and accuracy.relative_to == "box":
        found = Interval(found.lower - factor, found.upper + factor)
    if not accuracy.absolute:
        return found
    slack = _spread([gamma(accuracy.terms, dtype) * accuracy.cancelling(x.size) for x in inputs], found.lower)
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
    lower, upper = relaxation.lower, relaxation.upper
    if lower is upper:
        if name in problem.facts.free_of_rounding and lower.bias is None:
            return relaxation
        with torch.no_grad():
            error, lost = _charge(problem, name, relaxation, intervals, {}, 0)
        return Relaxation(lower, upper, error, lost)
    accuracy = problem.facts.accuracy[name]
    with torch.no_grad():
        error, lost = _charge(problem, name, relaxation, intervals, charged, accuracy.terms)
        if accuracy.unit:
            error = error + gamma(accuracy.terms, problem.facts.coarsest[name])
        if accuracy.absolute:
            own = gamma(accuracy.terms, problem.facts.coarsest[name])
            sizes = [accuracy.cancelling(intervals[o].size) for o in problem.calls[name].operands]
            error = error + own * _spread(sizes, error)
    return Relaxation(
        Affine(lower.terms, -error if lower.bias is None else lower.bias - error, lower.infinite),
        Affine(upper.terms, error if upper.bias is None else upper.bias + error, upper.infinite),
        underflow=lost,
    )


def _charge(
    problem: Problem,
    name: str,
    relaxation: Relaxation,
    intervals: Mapping[str, Interval],
    charged: Mapping[str, Tensor | None],
    own_terms: int,
) -> tuple[Tensor, Tensor]:
    """What rounding does to rows that pass a relaxation.

    Args:
        problem: The problem.
        name: The operator.
        relaxation: Its relaxation.
        intervals: Bounds of the operands.
        charged: Errors of operands that are charged here.
        own_terms: Roundings behind the lines themselves, relative to the larger of both; none for an affine operator.

    Returns:
        By how much either line may be off at any point of the box, `[B, *S]`, and what any row may lose to underflow,
        however small its coefficients are, `[B or 1]`.
    """
    call, dtype, least = problem.calls[name], problem.facts.coarsest[name], tiny(problem.facts.coarsest[name])
    lower, upper = relaxation.lower, relaxation.upper
    sides = 1 if lower is upper else 2
    sums = (
        len(problem.facts.users.get(name, ())) + 2 * len(problem.calls) + _FEW
    )  # rows that meet, and biases
    own = gamma(own_terms, dtype) if own_terms else 0.0
    count = math.prod(call.shape)
    error: Tensor | None = None
    lost: Tensor | float = least * (sides * count + _FEW)
    most = 0
    for low, up, operand in zip(lower.terms, upper.terms, call.operands, strict=True):
        first = up if low is None else low
        if first is None:
            continue
        second = None if up is low else up
        fan_out = first.fan_out if second is None else max(first.fan_out, second.fan_out)
        most = max(most, fan_out)
        box, here = intervals[operand], charged.get(operand)
        moved = (gamma(fan_out + sums, dtype) + own) * box.size
        if here is not None:
            moved = moved + here
        part = first.magnitude(moved)
        if second is not None and second is not first:
            part = torch.maximum(part, second.magnitude(moved))
        error = part if error is None else error + part
        lost = lost + (sides * fan_out * least) * box.total
    if error is None:
        error = torch.zeros(1, *call.shape, dtype=dtype, device=problem.device)
    size: Tensor | None = None
    for side in (lower, upper)[:sides]:
        if side.bias is not None:
            size = side.bias.abs() if size is None else torch.maximum(size, side.bias.abs())
    if size is not None:
        error = torch.add(error, size, alpha=gamma(count + sums, dtype) + own)
    error = error + least * (most + sums + own_terms)
    if not isinstance(lost, Tensor):
        lost = torch.full((1,), lost, dtype=dtype, device=problem.device)
    return error, lost.to(dtype)
