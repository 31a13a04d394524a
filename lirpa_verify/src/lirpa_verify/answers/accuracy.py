"""What certification says of a data set, example by example and in all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What is known about an example."""

    WRONG = "wrong"
    PROVED = "proved"
    REFUTED = "refuted"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Certificate:
    """The verdict on one example.

    Attributes:
        index: Which one.
        verdict: *wrong* where the class is not the label even without a perturbation.
        seconds: How long it took.
        decided_by: The step that decided; None where none did.
        error: Why nothing is known, where the process of the example failed.
    """

    index: int
    verdict: Verdict
    seconds: float
    decided_by: str | None
    error: str | None = None


@dataclass(frozen=True)
class Accuracy:
    """A data set's accuracies.

    Attributes:
        examples: How many there are.
        clean: Share of the right ones.
        certified: Share of those that no member of the set makes wrong, provably.
        upper: Share of those that were not refuted.
        seconds: How long it took.
    """

    examples: int
    clean: float
    certified: float
    upper: float
    seconds: float

    @classmethod
    def of(cls, certificates: Sequence[Certificate]) -> Accuracy:
        """The accuracies that certificates add up to."""
        count = {v: sum(c.verdict == v for c in certificates) for v in Verdict}
        n = max(1, len(certificates))
        right = len(certificates) - count[Verdict.WRONG]
        return cls(
            len(certificates),
            right / n,
            count[Verdict.PROVED] / n,
            (right - count[Verdict.REFUTED]) / n,
            sum(c.seconds for c in certificates),
        )
