"""What verification says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from lirpa_verify.answers import plot, text
from lirpa_verify.answers.statistics import Statistics, Status
from lirpa_verify.task import Counterexample

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
        return text.explanation(self.status, self.statistics)

    def as_json(self) -> dict[str, Any]:
        """The answer in types that JSON has."""
        return text.as_json(self.status, self.statistics, self.margins, self.counterexample)

    def plot(self, path: str | Path | None = None) -> Figure:
        """Draw the worst bound and the open subproblems against time; needs matplotlib.

        Args:
            path: Where to save the picture; None: nowhere.
        """
        return plot.plot_search(self.status, self.statistics, path)
