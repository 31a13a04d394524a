"""The last check before a bound leaves the library: finite, ordered, and inside every domain."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from lirpa_core.errors import DomainError, NonFiniteBoundError, SoundnessError
from lirpa_core.graph import NodeKind
from lirpa_core.linear.finite import all_finite
from lirpa_core.linear.interval import Interval
from lirpa_core.problem.problem import Problem

#: Lower above upper by more than this many units of rounding, relative to the bounds' size, is a
#: wrong rule and not rounding: both bounds are long sums, each rounded on its own.
_ROUNDING = 2**14


def check_domains(problem: Problem, intervals: Mapping[str, Interval]) -> None:
    """Refuse boxes that reach outside the domain of a function. Waits for the device once.

    Raises:
        DomainError: Naming the node, the box and the source line.
    """
    found: dict[str, Tensor] = {}
    for name, call in problem.calls.items():
        inputs = tuple([intervals.get(o) for o in call.operands])
        outside = problem.rules[name].domain_violation(call, inputs)
        if outside is not None:
            found[name] = outside
    if not found or not bool(torch.stack([v.any() for v in found.values()]).any()):
        return
    name = next(n for n, v in found.items() if bool(v.any()))
    box = intervals[problem.calls[name].operands[0]]
    mask = found[name].expand(box.lower.shape)
    low, up = float(box.lower[mask][0]), float(box.upper[mask][0])
    raise DomainError(
        f"the operand of {problem.graph[name]} may lie in [{low:.6g}, {up:.6g}], which leaves the domain of the "
        f"function ({int(mask.sum())} elements do). Use a smaller perturbation or a tighter method, or keep the "
        "operand inside the domain (x.clamp(min=...), a positive offset)."
    )


def check_bounds(
    problem: Problem, intervals: Mapping[str, Interval], lower: Tensor | None, upper: Tensor | None
) -> None:
    """Refuse bounds that are not finite or not ordered.

    Raises:
        NonFiniteBoundError: Naming the first node whose bounds are not finite.
        SoundnessError: Naming the first node whose lower bound exceeds its upper bound.
    """
    given = [b for b in (lower, upper) if b is not None]
    if not all(all_finite(b) for b in given):
        raise NonFiniteBoundError(
            f"a bound is infinite or NaN{_first(problem, intervals, _not_finite)}. {_cause(problem)}."
        )
    if lower is not None and upper is not None and bool(_crossed(Interval(lower, upper)).any()):
        raise SoundnessError(
            f"a lower bound exceeds its upper bound{_first(problem, intervals, _crossed)}. This is a defect of a "
            "rule; please report it with the model."
        )


def _cause(problem: Problem) -> str:
    """A constant leaf that holds NaN or +∞ (−∞ may be a mask), or else the size of the box."""
    for name, const in problem.constants.items():
        node, x = problem.graph[name], const.value
        if node.kind is NodeKind.OPERATOR or not x.is_floating_point():
            continue
        if bool((x.isnan() | (x == math.inf)).any()):
            return f"The {node.kind.value} '{node.path or name}' contains NaN or +∞; a mask may hold numbers and −∞"
    return (
        "The box is too large for the dtype or for a function on the way: use a smaller perturbation, a tighter "
        "method, or float64"
    )


def _not_finite(x: Interval) -> Tensor:
    return ~(torch.isfinite(x.lower) & torch.isfinite(x.upper))


def _crossed(x: Interval) -> Tensor:
    slack = _ROUNDING * torch.finfo(x.lower.dtype).eps
    return x.lower - x.upper > slack * (x.lower.abs() + x.upper.abs() + 1)


def _first(problem: Problem, intervals: Mapping[str, Interval], test: object) -> str:
    assert callable(test)
    for name in problem.calls:
        if name in intervals and bool(test(intervals[name]).any()):
            return f"; the first such node is {problem.graph[name]}"
    return ""
