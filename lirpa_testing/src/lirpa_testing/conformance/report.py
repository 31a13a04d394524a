"""The report: a row for each operator and mode, then what failed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lirpa_testing.conformance.outcome import Outcome
from lirpa_testing.profiles import Profile

#: Heads of the columns.
COLUMNS = (
    "plugin",
    "subject",
    "mode",
    "cases",
    "examples",
    "tightest",
    "loosest",
    "proved",
    "sampled",
    "result",
)


@dataclass(frozen=True)
class Row:
    """One subject in one mode, all of its cases together; the fields are the keys of the JSON."""

    plugin: str
    kind: str
    subject: str
    mode: str
    cases: int
    examples: int
    tightest: float | None
    loosest: float | None
    proved: int
    sampled: int
    failed: int

    @property
    def result(self) -> str:
        """In one word."""
        if self.failed:
            return "FAILED"
        if self.proved and not self.sampled:
            return "proved"
        return "proved, sampled" if self.proved else "sampled"

    def cells(self) -> tuple[str, ...]:
        """As the table shows it."""
        gaps = ("-" if gap is None else f"{gap:.3g}" for gap in (self.tightest, self.loosest))
        subject = self.subject if self.kind == "rule" else f"{self.kind} {self.subject}"
        counts = (str(self.cases), str(self.examples))
        return (
            self.plugin,
            subject,
            self.mode or "-",
            *counts,
            *gaps,
            str(self.proved),
            str(self.sampled),
            self.result,
        )


@dataclass(frozen=True)
class Report:
    """What a run of the suite found."""

    profile: Profile
    outcomes: tuple[Outcome, ...]

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """The outcomes that failed."""
        return tuple(outcome for outcome in self.outcomes if outcome.failure is not None)

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.failures

    def rows(self) -> list[Row]:
        """A row for each subject and mode, in the order of the outcomes."""
        groups: dict[tuple[str, str, str], list[Outcome]] = defaultdict(list)
        for outcome in self.outcomes:
            groups[outcome.plugin, outcome.kind, outcome.subject].append(outcome)
        return [row for key, group in groups.items() for row in _rows(key, group)]

    def lines(self) -> list[str]:
        """The whole report as text."""
        lines = _table([COLUMNS, *(row.cells() for row in self.rows())])
        for outcome in self.failures:
            assert outcome.failure is not None
            lines += [
                "",
                f"FAILED {outcome.plugin}: {outcome.subject} [{outcome.case or outcome.failure.check}]",
            ]
            lines += [f"  {line}" for line in outcome.failure.message.splitlines()]
        return [*lines, "", self.summary()]

    def summary(self) -> str:
        """One line."""
        subjects = {(o.plugin, o.kind, o.subject) for o in self.outcomes}
        failed = {(o.plugin, o.kind, o.subject) for o in self.failures}
        bare = sum(o.failure is not None and o.failure.check == "no case" for o in self.outcomes)
        examples = sum(outcome.examples for outcome in self.outcomes)
        seconds = sum(outcome.seconds for outcome in self.outcomes)
        return (
            f"profile {self.profile.name}: {len(subjects)} subjects, {len(self.outcomes)} cases, {examples} examples "
            f"in {seconds:.0f} s of CPU time; {len(failed)} failed"
            + (f", {bare} of them for want of a case" if bare else "")
        )

    def to_json(self) -> dict[str, Any]:
        """The report and the single outcomes as JSON."""
        return {
            "profile": self.profile.name,
            "passed": self.passed,
            "rows": [{**vars(row), "result": row.result} for row in self.rows()],
            "outcomes": [outcome.to_json() for outcome in self.outcomes],
        }


def _rows(key: tuple[str, str, str], group: Sequence[Outcome]) -> Iterable[Row]:
    modes = list(dict.fromkeys(result.mode for outcome in group for result in outcome.modes))
    general = [o for o in group if o.failure is not None and o.failure.mode not in ("interval", "relax")]
    for mode in modes or [""]:
        results = [result for outcome in group for result in outcome.modes if result.mode == mode]
        shared = "interval" if mode == "interval" else "relax"
        failed = len(general) + sum(o.failure is not None and o.failure.mode == shared for o in group)
        if not modes:
            failed = sum(o.failure is not None for o in group)
        yield Row(
            *key,
            mode,
            len(group),
            sum(o.examples for o in group),
            min((r.tightest for r in results), default=None),
            max((r.loosest for r in results), default=None),
            sum(o.proved for o in group),
            sum(o.sampled for o in group),
            failed,
        )


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    numbers = range(3, 9)
    return [
        "  ".join(
            cell.rjust(width) if i in numbers else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
