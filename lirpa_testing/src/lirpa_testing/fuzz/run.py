"""Run a stream of cases for some time, log each, and shrink what fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lirpa_core.methods import Method
from lirpa_core.plugins import Registry
from lirpa_testing.fuzz import log
from lirpa_testing.fuzz.case import GROUP, Case, draw_group
from lirpa_testing.fuzz.check import Captured, Outcome, check_group
from lirpa_testing.fuzz.shrink import fewest, script, shrink

#: How many findings of a group become scripts.
_SHRUNK = 2


def run(
    path: Path,
    *,
    seed: int,
    seconds: float,
    methods: Sequence[str | Method],
    groups: int | None = None,
    registry: Registry | None = None,
    say: Callable[[str], None] = print,
) -> int:
    """Run cases until the time is up; a log that exists is continued.

    Args:
        path: The log; scripts of findings are written beside it.
        seed: Of the stream.
        seconds: How long.
        methods: Methods, or their names.
        groups: How many groups at most.
        registry: Rules and methods; by default the installed ones.
        say: Receives a line of progress every ten seconds, and each finding.

    Returns:
        How many findings there were.
    """
    start = spoken = time.monotonic()
    first = place = -(-log.next_index(path, seed) // GROUP)
    findings = networks = 0
    while time.monotonic() - start < seconds and (groups is None or place - first < groups):
        cases = draw_group(seed, place)
        outcomes = check_group(cases, methods, registry=registry)
        log.append(path, seed, place * GROUP, cases[0].dtype, outcomes)
        networks += len(cases)
        for i, bad in _findings(outcomes)[:_SHRUNK]:
            index = place * GROUP + i
            target = path.with_name(f"{path.stem}-{seed}-{index}.py")
            method = methods[outcomes[i].index(bad[0])]
            target.write_text(_shrunk(cases, i, bad[0], method, registry), encoding="utf-8")
            names = ", ".join(outcome.method for outcome in bad)
            say(f"{index}: {bad[0].kind} of {names}: {bad[0].what}: {bad[0].detail} -> {target.name}")
        findings += sum(len(bad) for _, bad in _findings(outcomes))
        place += 1
        if time.monotonic() - spoken > 10:
            spoken = time.monotonic()
            say(f"{networks} networks in {spoken - start:.0f} s, {findings} findings")
    return findings


def _findings(outcomes: Sequence[Sequence[Outcome]]) -> list[tuple[int, list[Outcome]]]:
    """What somebody has to look at, of each case that has it."""
    each = [(i, [outcome for outcome in found if outcome.is_finding]) for i, found in enumerate(outcomes)]
    return [(i, bad) for i, bad in each if bad]


def _shrunk(
    cases: Sequence[Case], i: int, found: Outcome, method: str | Method, registry: Registry | None
) -> str:
    last, captured = [found], Captured(registry)

    def fails(candidates: Sequence[Case]) -> bool:
        try:
            outcomes = check_group(candidates, [method], captured=captured)
        except (ArithmeticError, ValueError, RuntimeError):
            return False  # the case makes no sense, such as one without a gradient
        for (outcome,) in outcomes:
            if (outcome.kind, outcome.what) == (found.kind, found.what):
                last[0] = outcome
                return True
        return False

    if fails([cases[i]]):
        small = [shrink(cases[i], lambda case: fails([case]))]
    else:
        small = fewest(cases, fails)
    return script(small, found.method, f"{last[0].what}: {last[0].detail}")
