"""Climbing the ladder: step after step until everything is decided or the time is over."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from lirpa_verify.ladder.progress import Progress
from lirpa_verify.ladder.steps import Context, Step


@dataclass(frozen=True)
class StepRecord:
    """What one step did.

    Attributes:
        step: Its name.
        seconds: How long it took.
        open_before: Violations that were open when it began.
        open_after: Violations that it left open; 0 where it refuted or proved everything.
        worst: The lowest bound of an open violation's margin afterwards; None where none is known.
        counts: Numbers that a search reports.
    """

    step: str
    seconds: float
    open_before: int
    open_after: int
    worst: float | None
    counts: Mapping[str, float] = field(default_factory=dict)


def climb(
    progress: Progress, steps: Sequence[Step], context: Context
) -> tuple[Progress, tuple[StepRecord, ...]]:
    """Run the steps in order, each on what the ones before left open.

    Args:
        progress: What is known.
        steps: The ladder.
        context: What steps share.

    Returns:
        What is known afterwards, and what each step did.
    """
    records: list[StepRecord] = []
    for step in steps:
        if progress.decided or context.clock.expired:
            break
        if not step.applies(progress):
            continue
        before, start = len(progress.open), time.perf_counter()
        progress = step.run(replace(progress, counts={}), context)
        seconds = time.perf_counter() - start
        margins = progress.margins[progress.open]
        worst = float(margins.min()) if len(margins) and bool(margins.isfinite().any()) else None
        left = 0 if progress.counterexample is not None else len(progress.open)
        records.append(StepRecord(step.name, seconds, before, left, worst, progress.counts))
    return progress, tuple(records)
