"""What an answer is called, and how it was found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lirpa_verify.ladder.climb import StepRecord
from lirpa_verify.ladder.steps import State


class Status(StrEnum):
    """The three answers."""

    PROVED = "proved"
    REFUTED = "refuted"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Statistics:
    """How an answer was found.

    Attributes:
        seconds: How long it took.
        steps: What each step of the ladder did, in order; those of all cases of a query.
        trace: How the searches stood, now and then.
    """

    seconds: float
    steps: tuple[StepRecord, ...]
    trace: tuple[State, ...] = ()

    @property
    def subproblems(self) -> int:
        """How many subproblems were bounded."""
        return int(sum(step.counts.get("subproblems", 0) for step in self.steps))

    @property
    def decided_by(self) -> str | None:
        """The last step, the one that decided where anything did."""
        return self.steps[-1].step if self.steps else None
