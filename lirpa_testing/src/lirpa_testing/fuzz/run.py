"""Run a stream of cases for some time, log each, and shrink what fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lirpa_core.methods import Method
from lirpa_core.plugins import Registry
from lirpa_testing.fuzz import log
from lirpa_testing.fuzz.case import Case, draw_case
from lirpa_testing.fuzz.check import Captured, Outcome, check_case
from lirpa_testing.fuzz.shrink import script, shrink


def run(
    path: Path,
    *,
    seed: int,
    seconds: float,
    methods: Sequence[str | Method],
    cases: int | None = None,
    registry: Registry | None = None,
    say: Callable[[str], None] = print,
) -> int:
    """Run cases until the time is up; a log that exists is continued.

    Args:
        path: The log; scripts of findings are written beside it.
        seed: Of the stream.
        seconds: How long.
        methods: Methods, or their names.
        cases: How many networks at most.
        registry: Rules and methods; by default the installed ones.
        say: Receives a line of progress every ten seconds, and each finding.

    Returns:
        How many findings there were.
    """
    start = spoken = time.monotonic()
    first = index = log.next_index(path, seed)
    findings = 0
    captured = Captured(registry)
    while time.monotonic() - start < seconds and (cases is None or index - first < cases):
        case = draw_case(seed, index)
        outcomes = check_case(case, methods, captured=captured)
        log.append(path, seed, index, case.dtype, outcomes)
        bad = [outcome for outcome in outcomes if outcome.is_finding]
        findings += len(bad)
        if bad:
            target = path.with_name(f"{path.stem}-{seed}-{index}.py")
            target.write_text(
                _shrunk(case, bad[0], methods[outcomes.index(bad[0])], registry), encoding="utf-8"
            )
            names = ", ".join(outcome.method for outcome in bad)
            say(f"{index}: {bad[0].kind} of {names}: {bad[0].what}: {bad[0].detail} -> {target.name}")
        index += 1
        if time.monotonic() - spoken > 10:
            spoken = time.monotonic()
            say(f"{index - first} networks in {spoken - start:.0f} s, {findings} findings")
    return findings


def _shrunk(case: Case, found: Outcome, method: str | Method, registry: Registry | None) -> str:
    last = [found]

    def fails(candidate: Case) -> bool:
        try:
            (outcome,) = check_case(candidate, [method], registry=registry)
        except (ArithmeticError, ValueError, RuntimeError):
            return False  # the case makes no sense, such as one without a gradient
        same = (outcome.kind, outcome.what) == (found.kind, found.what)
        if same:
            last[0] = outcome
        return same

    small = shrink(case, fails)
    return script(small, found.method, f"{last[0].what}: {last[0].detail}")
