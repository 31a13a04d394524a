"""What is to be done, in parts, and what comes back for each part."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lirpa_core.errors import LirpaError


@dataclass(frozen=True)
class Work:
    """Work of many parts, each answered by a function; what it needs can be pickled.

    Attributes:
        opened: Loads what all parts need, and gives the function from a part to its answer.
        limit: Seconds that a part may take; a process that takes much longer is ended.
        kept: How many parts a process answers before another takes its place; None: all that there are.
        group: How many parts travel to another machine together.
    """

    opened: Callable[[], Callable[[Any], Any]]
    limit: Callable[[Any], float]
    kept: int | None = None
    group: int = 1


@dataclass(frozen=True)
class Failed:
    """In the place of an answer: the process, or the function, failed.

    Attributes:
        reason: What happened, in a line.
        details: Where, if that is known.
        refused: The library refused the part by an error of its own, which it would do again.
    """

    reason: str
    details: str = ""
    refused: bool = False

    @classmethod
    def by(cls, error: Exception) -> Failed:
        """What an error says."""
        if isinstance(error, LirpaError):
            return cls(str(error), refused=True)
        return cls(f"{type(error).__name__}: {error}", traceback.format_exc())


@dataclass(frozen=True)
class Overran:
    """In the place of an answer: the process was ended, because it did not stop by itself."""


@dataclass(frozen=True)
class Finished:
    """A part with its answer.

    Attributes:
        part: The part.
        answer: The answer, or why there is none.
        preparing: Seconds that the process took before it began with the part.
        seconds: Seconds of the part.
    """

    part: Any
    answer: Any
    preparing: float = 0.0
    seconds: float = 0.0


class Runner(Protocol):
    """A way to have work done."""

    def run(self, work: Work, parts: Sequence[Any]) -> Iterator[Finished]:
        """Parts with their answers, in whatever order they come; whoever stops to ask ends what still runs."""


@dataclass(frozen=True)
class Here:
    """Runs all parts in this process, in order; errors are raised."""

    def run(self, work: Work, parts: Sequence[Any]) -> Iterator[Finished]:
        """As `Runner`."""
        if not parts:
            return
        answer = work.opened()
        for part in parts:
            start = time.monotonic()
            yield Finished(part, answer(part), 0.0, time.monotonic() - start)
