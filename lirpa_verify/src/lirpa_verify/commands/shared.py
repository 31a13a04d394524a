"""What the commands share: exit codes, errors, progress."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn

import click

from lirpa_core.errors import LirpaError

#: Exit codes by answer; 1 is an error, and click's 2 is a wrong use of the command.
EXIT_CODES: Final = {"proved": 0, "refuted": 10, "unknown": 20}
ERROR: Final = 1


class Failure(click.ClickException):
    """An error of lirpa as the command line shows it."""

    exit_code = ERROR


def failing(error: LirpaError) -> NoReturn:
    """End the command with the error's message."""
    raise Failure(str(error)) from error


@contextmanager
def progress_line() -> Iterator[Callable[[Any], None]]:
    """A function that shows how a search stands: one line that changes on a terminal, now and then a line elsewhere."""
    terminal = sys.stderr.isatty()
    last = -float("inf")

    def show(state: Any) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < (0.2 if terminal else 10.0):
            return
        last = now
        text = f"{state.seconds:7.1f} s  {state.open} open of {state.bounded} subproblems, worst bound {state.worst:.4g}"
        if terminal:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()
        else:
            sys.stderr.write(text + "\n")

    try:
        yield show
    finally:
        if terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
