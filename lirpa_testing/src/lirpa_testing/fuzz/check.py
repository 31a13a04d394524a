"""Compute the bounds of a group of cases by every method, and judge them in balls of 400 bits."""

from __future__ import annotations

import math
import traceback
import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from lirpa_core import BoundedModule, BoundedTensor
from lirpa_core.errors import LirpaError, SoundnessError
from lirpa_core.methods import Method
from lirpa_core.plugins import Registry
from lirpa_testing.fuzz.attack import members
from lirpa_testing.fuzz.case import Case, batch, parameters, perturbation
from lirpa_testing.fuzz.exact import ExactValues
from lirpa_testing.methods.names import few_steps

#: Lower and upper bounds of a case, or what came instead.
_Found: TypeAlias = "tuple[list[float], list[float]] | Outcome"


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

    def of(self, cases: Sequence[Case]) -> BoundedModule:
        """The network of a group, ready to be bounded.

        Args:
            cases: The group.
        """
        case = cases[0]
        dtype = case.torch_dtype
        model, inputs = case.model(dtype), parameters(cases[:1], dtype) if case.own else []
        x = batch(cases[:1], dtype)
        shapes = tuple(tuple(value.shape) for value in (x, *inputs, *model.state_dict().values()))
        steps = tuple((s.operator, s.operands) for s in case.program.steps)
        key = case.program.width, steps, shapes, case.dtype, case.weight, case.own
        if self._last is None or self._last[0] != key:
            made = BoundedModule(model, (x, *inputs), few_steps(), registry=self._registry)
            self._last = key, made
        bounded = self._last[1]
        bounded.load_state_dict(model.state_dict())
        return bounded


def check_case(
    case: Case,
    methods: Sequence[str | Method],
    *,
    seed: int = 0,
    registry: Registry | None = None,
) -> list[Outcome]:
    """Bounds of a case by every method, attacked.

    Args:
        case: The case.
        methods: Methods, or their names.
        seed: Of the attack.
        registry: Rules and methods to use; by default the installed ones.
    """
    return check_group([case], methods, seed=seed, registry=registry)[0]


def check_group(
    cases: Sequence[Case],
    methods: Sequence[str | Method],
    *,
    seed: int = 0,
    registry: Registry | None = None,
    captured: Captured | None = None,
) -> list[list[Outcome]]:
    """Bounds of cases by every method, attacked; of those that can be bounded together, in one call.

    Args:
        cases: A group, or some of it.
        methods: Methods, or their names.
        seed: Of the attack.
        registry: Rules and methods to use; by default the installed ones.
        captured: Holds the last network, for calls in a row whose networks have the same operators.

    Returns:
        What came of each case, one a method.
    """
    try:
        bounded = (captured or Captured(registry)).of(cases)
    except Exception as error:  # noqa: BLE001 - every error is a result here
        return [[_failed(_name(method), error) for method in methods] for _ in cases]
    refused: set[int] = (
        set()
    )  # by some method: the others are asked alone, so that one call suffices for the rest
    found: list[dict[int, _Found]] = []
    for method in methods:
        here: dict[int, _Found] = {}
        for part in [[i for i in range(len(cases)) if i not in refused], *[[i] for i in sorted(refused)]]:
            here |= _bounds(bounded, cases, part, method)
        refused |= {i for i, one in here.items() if isinstance(one, Outcome)}
        found.append(here)
    known = [i for i in range(len(cases)) if not all(isinstance(here[i], Outcome) for here in found)]
    values = None
    if known:
        attacked = [cases[i] for i in known]
        try:
            values = ExactValues(attacked, members(attacked, seed))
        except Exception as error:  # noqa: BLE001 - of one set in float64, say
            if len(cases) > 1:  # each by itself, so that the others are judged
                return [check_group([case], methods, seed=seed, registry=registry)[0] for case in cases]
            return [[_failed(_name(method), error, known_errors=False) for method in methods]]
    judged = [
        _judged(_name(method), here, known, values) for method, here in zip(methods, found, strict=True)
    ]
    return [list(each) for each in zip(*judged, strict=True)]


def _bounds(
    bounded: BoundedModule, cases: Sequence[Case], part: Sequence[int], method: str | Method
) -> dict[int, _Found]:
    """Bounds of some cases in one call; of halves of them where there is an error, down to the cases that have it."""
    if not part:
        return {}
    chosen = [cases[i] for i in part]
    dtype = chosen[0].torch_dtype
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ball = BoundedTensor(batch(chosen, dtype), perturbation(chosen, dtype))
            inputs = parameters(chosen, dtype) if chosen[0].own else []
            lower, upper = bounded.compute_bounds(x=(ball, *inputs), method=method)
    except Exception as error:  # noqa: BLE001
        outcome = _failed(_name(method), error)
        if len(part) == 1:
            return {part[0]: outcome}
        half = len(part) // 2
        found = _bounds(bounded, cases, part[:half], method) | _bounds(bounded, cases, part[half:], method)
        crashed = any(isinstance(one, Outcome) and one.is_finding for one in found.values())
        if outcome.is_finding and not crashed:
            together = f"in a batch of {len(part)} only: {outcome.detail}"
            found[part[0]] = Outcome(outcome.method, outcome.kind, outcome.what, together)
        return found
    ends = zip(part, lower.detach().tolist(), upper.detach().tolist(), strict=True)
    return {i: (low, up) for i, low, up in ends}


def _name(method: str | Method) -> str:
    return method if isinstance(method, str) else method.name


def _judged(
    method: str, found: dict[int, _Found], known: Sequence[int], values: ExactValues | None
) -> list[Outcome]:
    """What came of each case; `values` are those of the known ones."""
    outcomes = {i: one for i, one in found.items() if isinstance(one, Outcome)}
    lower: list[list[float] | None] = []
    upper: list[list[float] | None] = []
    for i in known:
        one = found[i]
        if isinstance(one, Outcome):
            lower.append(None)
            upper.append(None)
            continue
        lower.append(one[0])
        upper.append(one[1])
        if any(map(math.isnan, one[0] + one[1])):
            outcomes[i] = Outcome(method, "escape", "a bound is not a number", f"{one[0]} {one[1]}")
    for k, text in ({} if values is None else values.outside(lower, upper)).items():
        outcomes.setdefault(known[k], Outcome(method, "escape", "a value is outside", text))
    return [outcomes.get(i, Outcome(method, "held")) for i in sorted(found)]


def _failed(method: str, error: Exception, *, known_errors: bool = True) -> Outcome:
    """A refusal where the error is one that lirpa raises on purpose, and those are known ones; else a crash."""
    kind = type(error).__name__
    if known_errors and isinstance(error, LirpaError) and not isinstance(error, SoundnessError):
        return Outcome(method, "refused", kind, str(error))
    where = traceback.extract_tb(error.__traceback__)[-1]
    return Outcome(
        method,
        "crash",
        kind,
        f"{error} ({where.name}, line {where.lineno} of {where.filename.split('/')[-1]})",
    )
