"""What the commands share: exit codes, errors, progress."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from lirpa_core.errors import LirpaError

if TYPE_CHECKING:
    from lirpa_verify.running import Runner

#: Exit codes by answer; 1 is an error, and click's 2 is a wrong use of the command.
EXIT_CODES: Final = {"proved": 0, "refuted": 10, "unknown": 20}
ERROR: Final = 1


class Failure(click.ClickException):
    """An error of lirpa as the command line shows it."""

    exit_code = ERROR


def failing(error: LirpaError) -> NoReturn:
    """End the command with the error's message."""
    raise Failure(str(error)) from error


#: `--ray`, of commands that do many things.
ray_option = click.option(
    "--ray",
    "on_ray",
    is_flag=True,
    help="Distribute the work through Ray, over this machine or the cluster of RAY_ADDRESS.",
)


def runner_of(jobs: int | None, *, on_ray: bool) -> Runner | None:
    """How the work of a command is run; None: as it is without the options."""
    if not on_ray and jobs is None:
        return None
    from lirpa_verify.running import InProcesses, OnRay  # they import torch, which `--help` does without

    return OnRay() if on_ray else InProcesses(jobs or 1)


def time_left(start: float, done: int, left: int) -> str:
    """An estimate of the time left in words, from how long what is done took; empty before anything is.

    Args:
        start: `time.monotonic()` of the start.
        done: How many parts have been done since.
        left: How many there are still.
    """
    if not done or not left:
        return ""
    seconds = round((time.monotonic() - start) * left / done)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    if hours:
        return f", about {hours} h {minutes} min left"
    return f", about {minutes} min {seconds % 60} s left" if minutes else f", about {seconds} s left"


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
