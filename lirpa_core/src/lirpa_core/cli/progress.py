"""A bar for what takes more than two seconds, on a terminal; nothing in pipes and logs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from lirpa_core.progress import Progress as Step
from lirpa_core.progress import Report

#: Seconds before which nothing is shown.
PATIENCE = 2.0


class Bar:
    """Shows steps on a terminal, once the computation has taken a while, whether a step is told then or not.

    Args:
        console: Where to.
        patience: Seconds before which nothing is shown.
    """

    def __init__(self, console: Console, patience: float = PATIENCE) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[at]}"),
            console=console, transient=True,
        )  # fmt: skip
        self._shown: dict[str, TaskID] = {}
        self._timer = threading.Timer(patience, self._bars.start)
        self._timer.daemon = True
        self._timer.start()

    def __call__(self, step: Step) -> None:
        """Take note of a step; tasks before it are done."""
        for name in list(self._shown):
            if name != step.task:
                self._bars.remove_task(self._shown.pop(name))
        if step.task not in self._shown:
            self._shown[step.task] = self._bars.add_task(step.task, total=1.0, at=step.at)
        self._bars.update(self._shown[step.task], completed=step.share, at=step.at)

    def close(self) -> None:
        """Take the bar away."""
        self._timer.cancel()
        self._timer.join()  # it may just be starting the bar
        self._bars.stop()


@contextmanager
def progress_bar() -> Iterator[Report | None]:
    """What to give to the option `progress`; None where standard error is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    bar = Bar(console)
    try:
        yield bar
    finally:
        bar.close()


__all__ = ["PATIENCE", "Bar", "progress_bar"]
