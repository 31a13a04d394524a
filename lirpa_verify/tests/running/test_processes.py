"""Parts are answered in processes, whatever happens to single ones."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import Any

import pytest
from lirpa_verify.running import Failed, Finished, Here, InProcesses, Overran, Work


def work(function: Callable[..., Any], limit: float = 60.0, kept: int | None = None) -> Work:
    """Work whose parts a function answers that another process finds by name."""
    return Work(partial(itemgetter(0), (function,)), lambda _: limit, kept)


def answers(finished: list[Finished]) -> dict[Any, Any]:
    return {one.part: one.answer for one in finished}


@pytest.mark.parametrize("runner", [Here(), InProcesses(2), InProcesses(1)])
def test_every_part_is_answered(runner: Here | InProcesses) -> None:
    found = list(runner.run(work(math.sqrt), [4, 9, 16, 25, 36]))
    assert answers(found) == {4: 2, 9: 3, 16: 4, 25: 5, 36: 6}
    assert len(found) == 5
    assert list(runner.run(work(math.sqrt), [])) == []


@pytest.mark.parametrize(("kept", "processes"), [(None, 1), (1, 4)])
def test_a_process_answers_as_many_parts_as_it_is_to(kept: int | None, processes: int) -> None:
    expressions = [f"__import__('os').getpid() + {i} * 0" for i in range(4)]
    assert len({one.answer for one in InProcesses(1).run(work(eval, kept=kept), expressions)}) == processes


def test_a_part_that_raises_is_tried_again_and_then_failed_and_the_others_are_answered() -> None:
    found = answers(list(InProcesses(1).run(work(math.sqrt), [4, -1, 9])))
    assert (found[4], found[9]) == (2, 3)
    assert isinstance(found[-1], Failed)
    assert found[-1].reason.startswith("ValueError: ")
    assert "Traceback" in found[-1].details


def test_a_process_that_ends_costs_its_part_alone() -> None:
    found = list(InProcesses(1).run(work(os._exit), [3, 5]))
    assert answers(found) == {n: Failed(f"the process ended with code {n}") for n in (3, 5)}


def test_a_part_that_overruns_its_time_is_ended() -> None:
    start = time.monotonic()
    found = answers(list(InProcesses(2, grace=0.3).run(work(time.sleep, limit=0.2), [0.01, 50])))
    assert found == {0.01: None, 50: Overran()}
    assert time.monotonic() - start < 30


def test_whoever_stops_to_ask_ends_what_runs() -> None:
    running = InProcesses(2).run(work(time.sleep), [0.01, 100])
    assert next(running).part == 0.01
    start = time.monotonic()
    running.close()
    assert time.monotonic() - start < 20
