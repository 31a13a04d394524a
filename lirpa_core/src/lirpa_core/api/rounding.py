"""By how much rounding moved the bounds of a result, and a warning where that is more than their width.

The account of rounding is spread over every interval and every line, so it cannot be read off the bounds. It is the
difference between them and what the same computation gives without an account, which is a second computation: made when
somebody asks, and by lirpa itself where a look at the nodes says that it may matter.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import torch
from torch import Tensor

from lirpa_core.api.computation import Computation, Found
from lirpa_core.capture.captured_model import outside
from lirpa_core.errors import DomainError, InputError, NonFiniteBoundError, RoundingWarning, SoundnessError
from lirpa_core.linear.interval import Interval
from lirpa_core.problem.problem import Problem
from lirpa_core.problem.relaxations import Relaxations

#: Rounding of an affine node relative to the radius of its interval from which the second computation is made. On the
#: networks of `docs/maths/rounding.md` (MLPs and a CNN, radii of the set from 1e-5 to 0.1, float32) no bound had moved by
#: more than half of its width below 0.04, and all that had moved by more than its width were above.
_SUSPICIOUS = 0.04


#: Units of roundoff of the largest bound below which rounding is nothing to speak of, however narrow a bound is.
_ULPS = 32

#: One side of all bounds, by number of the output; None where it was not asked for.
_Sides: TypeAlias = dict[int, Tensor | None]


@dataclass(frozen=True, eq=False)
class Rounding:
    """By how much rounding moved bounds, in their layout; see `BoundsResult.rounding`.

    Attributes:
        lower: By how much lower bounds are lower (with `rounding="nearest"`: may be too high); None where there are none.
        upper: By how much upper bounds are higher (may be too low).
    """

    lower: Any
    upper: Any


@dataclass(frozen=True, eq=False)
class Moved:
    """The comparison of a computation with its counterpart that rounds the other way.

    Attributes:
        problem: The problem that was bounded.
        computation: What was asked of it.
        found: The answer.
        structured: Lays values by output out as the model's output.
        versions: Of the constants that the problem reads, when it was bounded.
    """

    problem: Problem
    computation: Computation
    found: Found
    structured: Callable[[Mapping[int, Any]], Any]
    versions: tuple[int, ...]

    @classmethod
    def of(
        cls,
        problem: Problem,
        computation: Computation,
        found: Found,
        structured: Callable[[Mapping[int, Any]], Any],
    ) -> Moved:
        """The comparison, not made yet."""
        return cls(problem, computation, found, structured, _versions(problem))

    def rounding(self) -> Rounding:
        """By how much rounding moved each bound. Takes as long as the computation did.

        Raises:
            InputError: The model's tensors or the inputs have changed since.
        """
        lower, upper, _ = self._compared
        return Rounding(
            self.structured(lower) if self.computation.lower else None,
            self.structured(upper) if self.computation.upper else None,
        )

    def warn(self) -> None:
        """Say in words where rounding moved a bound by more than its width."""
        message = self._message()
        if message is not None:
            warnings.warn(message, RoundingWarning, stacklevel=outside())

    def _message(self) -> str | None:
        lower, upper, widths = self._compared
        worst, which, count, total = 0.0, "", 0, 0
        for i, width in widths.items():
            for side, moved in (("lower", lower[i]), ("upper", upper[i])):
                if moved is None:
                    continue
                own = self.found[i][side == "upper"]
                assert own is not None
                over = (moved > width) & (
                    moved > _ULPS * torch.finfo(own.dtype).eps * own.detach().abs().amax()
                )
                total, count = total + over.numel(), count + int(over.sum())
                if bool(over.any()) and float(moved[over].max()) >= worst:
                    worst, which = float(moved[over].max()), side
        if count == 0:
            return None
        dtype = self.problem.dtype
        short = str(dtype).removeprefix("torch.")
        held = "The bounds hold, but are loose." if self.problem.outward else "So they may not hold."
        advice = "Use float64 (model.double(), x.double())" if dtype == torch.float32 else "Use a larger set"
        return (
            f"rounding may change this {which} bound by {worst:.2g}, which is more than its width; that is so of {count} of "
            f"{total} bounds. {held} {advice}: {short} cannot tell here what the set does from what rounding does."
        )

    @cached_property
    def _compared(self) -> tuple[_Sides, _Sides, dict[int, Tensor]]:
        """Differences of lower and of upper bounds, and the widths without an account of rounding."""
        if _versions(self.problem) != self.versions:
            raise InputError(
                "by how much rounding moved the bounds is computed when it is asked for, and a parameter, a buffer or an "
                "input has been changed in place since. Read result.rounding before the model changes."
            )
        other = dataclasses.replace(self.problem, outward=not self.problem.outward)
        asked = dataclasses.replace(self.computation, lower=True, upper=True, linear_bounds=False)
        with torch.no_grad():
            try:
                again: Found | None = asked.run(other).found
            except (
                DomainError,
                NonFiniteBoundError,
                SoundnessError,
            ):  # rounding decides whether there is a bound
                again = None
        lower: _Sides = {}
        upper: _Sides = {}
        widths: dict[int, Tensor] = {}
        for i, own in self.found.items():
            there: tuple[Tensor | None, Tensor | None] = (None, None) if again is None else again[i]
            lower[i], upper[i] = (_distance(a, b) for a, b in zip(own, there, strict=True))
            low, up = there if self.problem.outward and again is not None else own
            if low is None or up is None:
                low, up = there
            known = next(side for side in own if side is not None).detach()
            widths[i] = torch.zeros_like(known) if low is None or up is None else (up - low).detach()
        return lower, upper, widths


def may_matter(problem: Problem, intervals: Mapping[str, Interval]) -> bool:
    """Whether rounding may be a large part of these bounds: a look at the affine nodes, far cheaper than a computation.

    Not where the set is a single point: what rounding makes of that has nothing to be compared with.
    """
    if not problem.outward:
        return False
    with torch.no_grad():
        boxes = dataclasses.replace(problem, outward=False).hulls().values()
        if not any([bool((box.upper > box.lower).any()) for box in boxes]):
            return False
        relaxations = Relaxations(problem, intervals)
        ratios = [torch.zeros((), dtype=torch.float64)]
        for name in problem.facts.affine_operators & intervals.keys():
            error = relaxations[name].error
            if error is not None:
                ratios.append((error.mean() / (intervals[name].width / 2).mean()).double().cpu())
        return not bool((torch.stack(ratios) <= _SUSPICIOUS).all())  # one that is not a number is suspicious


def _distance(bound: Tensor | None, other: Tensor | None) -> Tensor | None:
    """How far a bound is from another one; infinitely where there is no other, and None where it was not asked for."""
    if bound is None:
        return None
    bound = bound.detach()
    return torch.full_like(bound, math.inf) if other is None else (bound - other).abs()


def _versions(problem: Problem) -> tuple[int, ...]:
    """How often the tensors that a problem reads have been changed in place; inference tensors do not count."""
    tensors = [member.x for member in problem.inputs.values()]
    tensors += [const.value for const in problem.constants.values()]
    return tuple([0 if x.is_inference() else x._version for x in tensors])  # no public name exists
