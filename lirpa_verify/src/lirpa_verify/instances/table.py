"""Results by family: how many were solved, wrong, unknown, and how long they took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from lirpa_verify.instances.files import Instance, Outcome

_SOLVED = {"sat", "unsat"}


@dataclass(frozen=True)
class FamilyRow:
    """One family of a benchmark.

    Attributes:
        family: Its name.
        instances: How many there are.
        proved: Answered "unsat".
        refuted: Answered "sat".
        wrong: Answered otherwise than the list says.
        failed: Ended by an error.
        median: Median seconds of the solved ones.
        mean: Mean seconds of all.
        quick: Solved within five seconds.
    """

    family: str
    instances: int
    proved: int
    refuted: int
    wrong: int
    failed: int
    median: float
    mean: float
    quick: int

    @property
    def unknown(self) -> int:
        """Neither solved nor failed."""
        return self.instances - self.proved - self.refuted - self.failed


def by_family(outcomes: Sequence[Outcome], instances: Sequence[Instance]) -> list[FamilyRow]:
    """A row for each family, and one for all of them where there are several."""
    expected = {(i.network, i.query): i.expected for i in instances}
    families: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        families.setdefault(outcome.family, []).append(outcome)
    rows = [_row(name, found, expected) for name, found in sorted(families.items())]
    return [*rows, _row("all", list(outcomes), expected)] if len(rows) > 1 else rows


def _row(name: str, outcomes: Sequence[Outcome], expected: Mapping[tuple[str, str], str | None]) -> FamilyRow:
    solved = [o for o in outcomes if o.answer in _SOLVED]
    wrong = sum(expected.get((o.network, o.query)) not in {None, o.answer} for o in solved)
    return FamilyRow(
        name,
        len(outcomes),
        sum(o.answer == "unsat" for o in outcomes),
        sum(o.answer == "sat" for o in outcomes),
        wrong,
        sum(o.answer.startswith("error") for o in outcomes),
        median([o.seconds for o in solved]) if solved else 0.0,
        sum(o.seconds for o in outcomes) / max(1, len(outcomes)),
        sum(o.seconds <= 5 for o in solved),
    )
