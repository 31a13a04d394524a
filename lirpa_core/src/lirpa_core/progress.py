"""How far a computation is: what a caller may be told while it lasts, and when its time is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Progress:
    """How far a computation is.

    Attributes:
        task: What is being done: `"capture"`, `"bounds of inner nodes"` or `"bounds of the output"`.
        share: How much of the task is done, from 0 to 1, by an estimate of its work.
        at: The node or the step that is being worked on.
        seconds: Since the task began.
    """

    task: str
    share: float
    at: str = ""
    seconds: float = 0.0

    @property
    def remaining(self) -> float | None:
        """Seconds until the task is done, if the rest goes as fast; None before anything is done."""
        return self.seconds * (1 - self.share) / self.share if self.share > 0 else None


class OutOfTime(Exception):  # noqa: N818  it is no error: whoever sets a deadline has something to go on with
    """The time of a computation is over."""


#: What is told.
Report: TypeAlias = Callable[[Progress], None]


class Monitor:
    """Tells one computation's progress, and knows when its time is over; every computation has its own.

    A task consists of parts, of so much work each. Whoever works on a part says which share of it is done, and need not
    know of the others.

    Args:
        report: Is told; None: nobody.
        deadline: When the time is over, by `time.monotonic()`; None: never.
    """

    def __init__(self, report: Report | None = None, deadline: float | None = None) -> None:
        self.report = report
        self.deadline = deadline
        self._task, self._at = "", ""
        self._total = 1.0
        self._done = self._part = 0.0
        self._began = time.monotonic()

    @contextmanager
    def until(self, deadline: float) -> Iterator[None]:
        """While this is open, the time is over at `deadline` too."""
        before = self.deadline
        self.deadline = deadline if before is None else min(before, deadline)
        try:
            yield
        finally:
            self.deadline = before

    @property
    def late(self) -> bool:
        """Whether the time is over."""
        return self.deadline is not None and time.monotonic() > self.deadline

    def begin(self, task: str, total: float) -> None:
        """Begin a task of so much work."""
        self._task, self._at = task, ""
        self._total = total if total > 0 else 1.0
        self._done = self._part = 0.0
        self._began = time.monotonic()
        self._tell(0.0)

    def part(self, at: str, work: float) -> None:
        """Begin a part of so much work; the one before is done."""
        self._done += self._part
        self._at, self._part = at, work
        self._tell(0.0)

    def within(self, share: float) -> None:
        """Say which share of the part is done.

        Raises:
            OutOfTime: The time is over.
        """
        self._tell(share)
        if self.late:
            raise OutOfTime

    def end(self) -> None:
        """The task is done."""
        self._done, self._part, self._at = self._total, 0.0, ""
        self._tell(0.0)

    def _tell(self, share: float) -> None:
        if self.report is not None:
            done = min(1.0, (self._done + share * self._part) / self._total)
            self.report(Progress(self._task, done, self._at, time.monotonic() - self._began))


__all__ = ["Monitor", "OutOfTime", "Progress", "Report"]
