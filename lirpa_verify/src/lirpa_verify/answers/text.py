"""Answers as text, as JSON, and counterexamples as VNN-COMP wants them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from lirpa_verify.answers.statistics import Statistics, Status
from lirpa_verify.ladder.climb import StepRecord
from lirpa_verify.task import Counterexample


def explanation(status: Status, statistics: Statistics) -> str:
    """A table of what each step did, and which one decided."""
    lines = [f"{'step':<16} {'seconds':>8}  {'open before':>11} {'after':>6}  {'worst bound':>12}  searched"]
    lines += [_line(step) for step in statistics.steps]
    decided = statistics.decided_by
    if decided is None:
        lines.append(f"{status}: no step was needed, or there was no time for one")
    elif status == "unknown":
        lines.append(f"unknown: no step decided; the last one was {decided}")
    else:
        lines.append(f"{status} by {decided} after {statistics.seconds:.2f} s")
    return "\n".join(lines)


def _line(step: StepRecord) -> str:
    worst = "" if step.worst is None else f"{step.worst:.4g}"
    counts = ", ".join(f"{value:.0f} {name}" for name, value in step.counts.items())
    return (
        f"{step.step:<16} {step.seconds:>8.2f}  {step.open_before:>11} {step.open_after:>6}  {worst:>12}  {counts}"
    ).rstrip()


def as_json(
    status: Status, statistics: Statistics, margins: Sequence[Tensor], found: Counterexample | None
) -> dict[str, Any]:
    """The answer in types that JSON has."""
    return {
        "status": str(status),
        "seconds": statistics.seconds,
        "decided_by": statistics.decided_by,
        "subproblems": statistics.subproblems,
        "margins": [[_finite(v) for v in m.tolist()] for m in margins],
        "counterexample": None
        if found is None
        else {
            "inputs": [x.tolist() for x in found.inputs],
            "outputs": found.outputs.tolist(),
            "violation": found.violation,
        },
        "steps": [
            {
                "step": s.step,
                "seconds": s.seconds,
                "open_before": s.open_before,
                "open_after": s.open_after,
                "worst": None if s.worst is None else _finite(s.worst),
                **({"counts": dict(s.counts)} if s.counts else {}),
            }
            for s in statistics.steps
        ],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def vnncomp_counterexample(found: Counterexample) -> str:
    """A counterexample in the form of VNN-COMP: `((X_0 …) … (Y_0 …) …)`, with all digits."""
    inputs = [v for x in found.inputs for v in x.reshape(-1).tolist()]
    lines = [f"(X_{i} {v!r})" for i, v in enumerate(inputs)]
    lines += [f"(Y_{i} {v!r})" for i, v in enumerate(found.outputs.tolist())]
    return "(" + "\n ".join(lines) + ")\n"
