"""Progress: shares of work that never go back, a remaining time, and an end of the time."""

from __future__ import annotations

import time

import pytest

from lirpa_core import Progress
from lirpa_core.progress import Monitor, OutOfTime


def test_shares_are_those_of_the_work() -> None:
    told: list[Progress] = []
    monitor = Monitor(told.append)
    monitor.begin("task", 4.0)
    monitor.part("first", 1.0)
    monitor.within(0.5)
    monitor.part("second", 3.0)
    monitor.within(0.5)
    monitor.end()
    assert [(p.share, p.at) for p in told] == [
        (0.0, ""), (0.0, "first"), (0.125, "first"), (0.25, "second"), (0.625, "second"), (1.0, "")
    ]  # fmt: skip
    assert {p.task for p in told} == {"task"} and all(p.seconds >= 0 for p in told)


def test_a_task_without_work_is_done_when_it_ends() -> None:
    told: list[Progress] = []
    monitor = Monitor(told.append)
    monitor.begin("task", 0.0)
    monitor.end()
    assert [p.share for p in told] == [0.0, 1.0]


def test_what_is_left_goes_as_fast_as_what_is_done() -> None:
    assert Progress("task", 0.25, seconds=2.0).remaining == pytest.approx(6.0)
    assert Progress("task", 0.0, seconds=2.0).remaining is None


def test_the_time_is_over_at_the_earlier_of_two_deadlines_and_only_while_it_is_set() -> None:
    now = time.monotonic()
    monitor = Monitor()
    monitor.within(0.5)
    with monitor.until(now + 1e6):
        assert not monitor.late
        with monitor.until(now - 1):
            assert monitor.late
            with pytest.raises(OutOfTime):
                monitor.within(0.5)
            with monitor.until(now + 1e6):
                assert monitor.late
        assert not monitor.late
    assert monitor.deadline is None
