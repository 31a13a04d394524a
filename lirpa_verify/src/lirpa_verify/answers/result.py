"""What verification says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from lirpa_verify.ladder.climb import StepRecord
from lirpa_verify.ladder.steps import State
from lirpa_verify.task import Counterexample

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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


@dataclass(frozen=True, eq=False)
class Result:
    """The answer to a question.

    Attributes:
        status: Whether the property is proved, refuted, or neither.
        counterexample: An input that violates the property; only where it is refuted.
        margins: For each case of the question the lower bounds of its violations' margins, `[G]`: how far every
            input of the set stays from the violation at least; minus infinity where no bound was needed.
        statistics: How it was found.
    """

    status: Status
    counterexample: Counterexample | None
    margins: tuple[Tensor, ...]
    statistics: Statistics

    def explain(self) -> str:
        """A table of what each step did, and which one decided."""
        from lirpa_verify.answers.text import explanation

        return explanation(self)

    def as_json(self) -> dict[str, Any]:
        """The answer in types that JSON has."""
        from lirpa_verify.answers.text import as_json

        return as_json(self)

    def plot(self, path: str | Path | None = None) -> Figure:
        """Draw the worst bound and the open subproblems against time; needs matplotlib.

        Args:
            path: Where to save the picture; None: nowhere.
        """
        from lirpa_verify.answers.plot import plot_result

        return plot_result(self, path)
