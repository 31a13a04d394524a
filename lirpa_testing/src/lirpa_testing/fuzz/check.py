"""Compute the bounds of a case by every method, and judge them in balls of 400 bits."""

from __future__ import annotations

import math
import traceback
import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from flint import arb, ctx

from lirpa_core import BoundedModule, BoundedTensor
from lirpa_core.errors import LirpaError, SoundnessError
from lirpa_core.methods import Method
from lirpa_core.plugins import Registry
from lirpa_testing.fuzz.attack import points, weight_corners
from lirpa_testing.fuzz.case import Case
from lirpa_testing.fuzz.operators import Balls
from lirpa_testing.methods.names import few_steps

_BITS = 400

#: Members of the set that are tried with extreme weights.
_WITH_WEIGHTS = 6


@dataclass(frozen=True)
class Outcome:
    """What came of one method.

    Args:
        method: Its name.
        kind: `"held"`, `"refused"`, `"escape"`, or `"crash"`.
        what: The error's class, or what escaped.
        detail: The message, or the numbers.
    """

    method: str
    kind: str
    what: str = ""
    detail: str = ""

    @property
    def is_finding(self) -> bool:
        """Whether somebody has to look at it."""
        return self.kind in ("escape", "crash")


class Captured:
    """The last network that was captured; one of the same operators gets its numbers instead of a new capture.

    Args:
        registry: Rules and methods to use; by default the installed ones.
    """

    def __init__(self, registry: Registry | None = None) -> None:
        self._registry = registry
        self._last: tuple[Hashable, BoundedModule] | None = None

    def of(self, case: Case) -> BoundedModule:
        """The network of a case, ready to be bounded.

        Args:
            case: The case.
        """
        model = case.model(case.torch_dtype)
        shapes = tuple((name, value.shape) for name, value in model.state_dict().items())
        key = (
            case.program.width,
            tuple((s.operator, s.operands) for s in case.program.steps),
            shapes,
            case.dtype,
            case.weight,
            case.batch(case.torch_dtype).shape[1:],
        )
        if self._last is None or self._last[0] != key:
            x = case.batch(case.torch_dtype)[:1]
            self._last = key, BoundedModule(model, x, few_steps(), registry=self._registry)
        bounded = self._last[1]
        bounded.load_state_dict(model.state_dict())
        return bounded


def check_case(
    case: Case,
    methods: Sequence[str | Method],
    *,
    seed: int = 0,
    registry: Registry | None = None,
    captured: Captured | None = None,
) -> list[Outcome]:
    """Bounds of a case by every method, attacked.

    Args:
        case: The case.
        methods: Methods, or their names.
        seed: Of the attack.
        registry: Rules and methods to use; by default the installed ones.
        captured: Holds the last network, for cases in a row that have the same operators.
    """
    dtype = case.torch_dtype
    x = case.batch(dtype)
    try:
        bounded = (captured or Captured(registry)).of(case)
    except Exception as error:  # noqa: BLE001 - every error is a result here
        return [_failed(_name(method), error) for method in methods]
    values: list[list[Balls]] | None = None  # of each example
    outcomes = []
    for method in methods:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ball = BoundedTensor(x, case.region.perturbation(dtype))
                lower, upper = bounded.compute_bounds(x=(ball,), method=method)
        except Exception as error:  # noqa: BLE001
            outcomes.append(_failed(_name(method), error))
            continue
        if values is None:
            values = [exact_values(one, points(one, seed)) for one in case.examples()]
        ends = zip(lower.detach().tolist(), upper.detach().tolist(), values, strict=True)
        judged = [_judged(_name(method), *each) for each in ends]
        outcomes.append(next((one for one in judged if one.is_finding), judged[0]))
    return outcomes


def exact_values(case: Case, members: Sequence[tuple[Fraction, ...]]) -> list[Balls]:
    """The network's values at members, in balls of 400 bits.

    Args:
        case: The case.
        members: Points of its set.
    """
    with ctx.workprec(_BITS):
        found = [case.program.exact(point) for point in members]
        if case.weight is not None:
            step = case.weight[0]
            found += [
                case.program.exact(point, (step, weight))
                for point in members[:_WITH_WEIGHTS]
                for weight in weight_corners(case, point)
            ]
        return found


def _name(method: str | Method) -> str:
    return method if isinstance(method, str) else method.name


def _judged(method: str, lower: list[float], upper: list[float], values: list[Balls]) -> Outcome:
    if any(map(math.isnan, lower + upper)):
        return Outcome(method, "escape", "a bound is not a number", f"{lower} {upper}")
    with ctx.workprec(_BITS):
        for value in values:
            for k, v in enumerate(value):
                # Comparisons of balls are true where they are true of all their numbers.
                if v < arb(lower[k]) or v > arb(upper[k]):
                    detail = f"output {k}: {v.str(25)} is outside [{lower[k]!r}, {upper[k]!r}]"
                    return Outcome(method, "escape", "a value is outside", detail)
    return Outcome(method, "held")


def _failed(method: str, error: Exception) -> Outcome:
    kind = type(error).__name__
    if isinstance(error, LirpaError) and not isinstance(error, SoundnessError):
        return Outcome(method, "refused", kind, str(error))
    where = traceback.extract_tb(error.__traceback__)[-1]
    return Outcome(
        method,
        "crash",
        kind,
        f"{error} ({where.name}, line {where.lineno} of {where.filename.split('/')[-1]})",
    )
