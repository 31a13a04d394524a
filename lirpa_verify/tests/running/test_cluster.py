"""Distribution through Ray, with a stand-in for Ray that works tasks off one by one in this process."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from lirpa_verify.running import Failed, Finished, OnRay, Work, cluster

from lirpa_core.errors import OptionError


class RayError(Exception):
    pass


class Worked:
    """What stands for a task: it is done when it is asked for."""

    def __init__(self, function: Callable[..., Any], arguments: Sequence[Any]) -> None:
        self.function, self.arguments = function, arguments


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stands in for Ray: the part of its interface that is used, and what it was told."""
    told: dict[str, Any] = {}
    module = ModuleType("ray")

    def remote(**options: Any) -> Callable[..., Any]:
        told.update(options)
        return lambda function: SimpleNamespace(remote=lambda *given: Worked(function, given))

    vars(module).update(
        exceptions=SimpleNamespace(RayError=RayError),
        init=lambda **options: told.update(options),
        is_initialized=lambda: False,
        shutdown=lambda: told.update(down=True),
        remote=remote,
        wait=lambda tasks, num_returns: (tasks[-num_returns:], tasks[:-num_returns]),
        get=lambda task: task.function(*task.arguments),
    )
    monkeypatch.setitem(sys.modules, "ray", module)
    return told


def test_groups_are_answered_also_where_a_worker_is_gone(
    ray: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = []

    def finished(_work: Work, group: Sequence[Any]) -> list[Finished]:
        groups.append(list(group))
        if 3 in group:
            raise RayError("the node died\nand more")
        return [Finished(part, part + 1) for part in group]

    monkeypatch.setattr(cluster, "group_finished", finished)
    work = Work(partial(itemgetter(0), (math.sqrt,)), lambda _: 20.0, group=2)
    found = {one.part: one.answer for one in OnRay(gpus=0.5).run(work, [1, 2, 3, 4, 5])}
    gone = Failed("RayError: the node died", "the node died\nand more")
    assert found == {1: 2, 2: 3, 3: gone, 4: gone, 5: 6}
    assert sorted(groups) == [[1, 2], [3, 4], [5]]
    assert (ray["num_gpus"], ray["max_retries"], ray["down"]) == (0.5, 1, True)


def test_a_task_answers_its_parts_in_a_process_beside_it(ray: dict[str, Any]) -> None:
    work = Work(partial(itemgetter(0), (math.sqrt,)), lambda _: 20.0, group=2)
    assert {one.part: one.answer for one in OnRay().run(work, [4, 9])} == {4: 2, 9: 3}


def test_without_ray_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(OptionError, match=r"lirpa-verify\[ray\]"):
        list(OnRay().run(Work(partial(itemgetter(0), (math.sqrt,)), lambda _: 20.0), [4]))
