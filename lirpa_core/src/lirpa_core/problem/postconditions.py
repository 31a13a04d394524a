"""The last check before a bound leaves the library: finite, ordered, and inside every domain."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lirpa_core.errors import DomainError, NonFiniteBoundError, SoundnessError
from lirpa_core.graph import NodeKind
from lirpa_core.linear.finite import all_finite
from lirpa_core.linear.interval import Interval
from lirpa_core.problem.problem import Problem
from lirpa_core.rules.call import Const
from lirpa_core.rules.precision import is_narrower

#: Lower above upper by more than this many units of rounding, relative to the bounds' size, is a
#: wrong rule and not rounding: both bounds are long sums, each rounded on its own.
_ROUNDING = 2**14


def check_domains(problem: Problem, intervals: Mapping[str, Interval]) -> None:
    """Refuse boxes that reach outside the domain of a function. Waits for the device once.

    Raises:
        DomainError: Naming the node, the box and the source line.
        NonFiniteBoundError: Where it is an overflow before that node that makes its box too large.
    """
    found = _outside(problem, intervals)
    if not found or not bool(torch.stack([v.any() for v in found.values()]).any()):
        return
    name = next(n for n, v in found.items() if bool(v.any()))
    call = problem.calls[name]
    box = intervals[call.operands[problem.rules[name].domain_slot(call)]]
    mask = found[name].expand(box.lower.shape)
    finite = mask & box.lower.isfinite() & box.upper.isfinite()
    if not bool(finite.any()) and not call.infinite:
        raise NonFiniteBoundError(
            f"bounds of the operand of {problem.graph[name]} are infinite or NaN, so that it may leave the domain of the "
            f"function{_first(problem, intervals, _not_finite)}. {_cause(problem)}."
        )
    mask = finite if bool(finite.any()) else mask
    low, up = float(box.lower[mask][0].detach()), float(box.upper[mask][0].detach())
    raise DomainError(
        f"the operand of {problem.graph[name]} may lie in [{low:.6g}, {up:.6g}], which leaves the domain of the "
        f"function ({int(mask.sum())} elements do). Use a smaller perturbation or a tighter method, or keep the "
        "operand inside the domain (x.clamp(min=...), a positive offset)."
    )


def _outside(problem: Problem, intervals: Mapping[str, Interval]) -> dict[str, Tensor]:
    """Where operands may leave the domains of functions, by node."""
    found: dict[str, Tensor] = {}
    for name, call in problem.calls.items():
        inputs = tuple([intervals.get(o) for o in call.operands])
        outside = problem.rules[name].domain_violation(call, inputs)
        if outside is not None:
            found[name] = outside
    return found


def doubtful(
    problem: Problem,
    intervals: Mapping[str, Interval],
    bounds: Sequence[tuple[Tensor | None, Tensor | None]],
) -> Tensor:
    """Whether `check_domains` or `check_bounds` would refuse something: a number that waits for nobody, `[]`."""
    wrong = [outside.any() for outside in _outside(problem, intervals).values()]
    for lower, upper in bounds:
        wrong += [~b.isfinite().all() for b in (lower, upper) if b is not None]
        if lower is not None and upper is not None:
            wrong.append(_crossed(Interval(lower, upper)).any())
    return torch.stack(wrong).any()


def check_bounds(
    problem: Problem, intervals: Mapping[str, Interval], lower: Tensor | None, upper: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    """Refuse bounds that are not finite or not ordered.

    Returns:
        The bounds; where rounding alone has put a lower one above its upper one, as it may for a set of one point, the
        two have changed places: each then is the looser one of its side.

    Raises:
        NonFiniteBoundError: Naming the first node whose bounds are not finite.
        SoundnessError: Naming the first node whose lower bound exceeds its upper bound.
    """
    given = [b for b in (lower, upper) if b is not None]
    if not all(all_finite(b) for b in given):
        raise NonFiniteBoundError(
            f"a bound is infinite or NaN{_first(problem, intervals, _not_finite)}. {_cause(problem)}."
        )
    if lower is None or upper is None:
        return lower, upper
    exceeds = lower > upper
    if not bool(exceeds.any()):
        return lower, upper
    if bool(_crossed(Interval(lower, upper)).any()):
        cause = (
            "This is a defect of a rule; please report it with the model."
            if problem.outward
            else 'With rounding="nearest" that happens where large numbers cancel: use rounding="outward", or float64. '
            "If it happens there too, it is a defect of a rule; please report it with the model."
        )
        raise SoundnessError(
            f"a lower bound exceeds its upper bound{_first(problem, intervals, _crossed)}. {cause}"
        )
    return ordered(lower, upper)


def ordered(lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """The looser of each side where a lower bound is above its upper one."""
    exceeds = lower > upper
    return torch.where(exceeds, upper, lower), torch.where(exceeds, lower, upper)


def escapes(value: Tensor, lower: Tensor | None, upper: Tensor | None, units: int = _ROUNDING) -> bool:
    """Whether a value is outside of its bounds by more than some units of rounding of their size.

    Args:
        value: What a model or a graph gives; NaN escapes from nothing.
        lower: Lower bounds of the same shape.
        upper: Upper bounds.
        units: How many units of rounding, relative to the larger one of the bounds' size and one.
    """
    if bool(_inside(value, lower, upper)):  # nearly always
        return False
    out: list[Tensor] = []
    for bound, sign in ((lower, 1), (upper, -1)):
        if bound is not None:
            room = units * torch.finfo(bound.dtype).eps * (bound.abs() + 1)
            out.append((sign * (bound - value.to(bound.dtype)) > room).any())
    return bool(torch.stack(out).any())


def _inside(value: Tensor, lower: Tensor | None, upper: Tensor | None) -> Tensor | bool:
    if lower is None:
        return upper is None or (value <= upper).all()
    return ((value >= lower) if upper is None else (value >= lower) & (value <= upper)).all()


def first_escape(
    problem: Problem, intervals: Mapping[str, Interval], values: Mapping[str, Const]
) -> str | None:
    """The first node whose value is outside of its interval.

    Args:
        problem: The problem.
        intervals: Intervals by node name, `[B, *S]`.
        values: Values by node name, from a graph's evaluation at a point of the set.
    """
    for name in problem.calls:
        if name in intervals and name in values:
            box = intervals[name]
            if escapes(values[name].value, box.lower, box.upper):
                return name
    return None


def has_jumps(problem: Problem) -> bool:
    """Whether a perturbed node is a step function of others, so that rounding may move it by a whole step."""
    for name, call in problem.calls.items():
        own = problem.graph[name].dtype
        curve = getattr(problem.rules[name], "curve", None)
        curve = curve(call) if callable(curve) else curve
        if not own.is_floating_point or is_narrower(own, problem.dtype) or getattr(curve, "jumps", False):
            return True
    return False


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
