"""The bar: on a terminal, for what takes a while, and nowhere else."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from lirpa_core import Progress
from lirpa_core.cli import progress
from lirpa_core.cli.progress import Bar, progress_bar

STEPS = (Progress("capture", 0.5, "torch.export"), Progress("bounds of inner nodes", 0.25, "linear_3"))


def shown(patience: float, wait: float = 0.0) -> str:
    stream = io.StringIO()
    bar = Bar(Console(file=stream, force_terminal=True, width=120), patience)
    for step in STEPS:
        bar(step)
    deadline = time.monotonic() + wait
    while time.monotonic() < deadline and "%" not in stream.getvalue():
        time.sleep(0.01)
    bar.close()
    return stream.getvalue()


def test_what_is_quick_shows_nothing() -> None:
    assert "%" not in shown(60.0)


def test_what_takes_longer_shows_the_task_its_share_and_where_it_is() -> None:
    """Though nothing is told any more when the time has come."""
    text = shown(0.05, wait=30.0)
    assert "bounds of inner nodes" in text and "25%" in text and "linear_3" in text


def test_no_bar_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    with progress_bar() as report:
        assert report is None
    monkeypatch.setattr(progress, "Console", lambda stderr: Console(file=io.StringIO(), force_terminal=True))
    with progress_bar() as report:
        assert report is not None
        report(STEPS[0])
