"""Distribution through Ray, with a stand-in for Ray that works tasks off one by one in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from lirpa_verify.instances import Instance, Outcome, ResultsFile, distributed, read_instances

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


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    path = tmp_path / "instances.csv"
    path.write_text("\n".join(f"{name}.onnx,p.vnnlib,20" for name in "abc"))
    return path


def test_every_instance_has_a_result_also_where_a_worker_is_gone(
    ray: dict[str, Any], listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_one(one: Instance, *_: Any) -> tuple[Outcome, str]:
        assert one.folder.is_absolute()
        if one.network == "b.onnx":
            raise RayError("the node died\nand more")
        return Outcome(one.family, one.network, one.query, 0.0, "unsat", 1.0), "proved"

    monkeypatch.setattr(distributed, "run_one", run_one)
    results = ResultsFile(tmp_path / "out.csv")
    results.append(Outcome("f", "a.onnx", "p.vnnlib", 0.0, "sat", 1.0))
    distributed.run_on_ray(read_instances(listed), results, timeout=20, gpus=0.5)
    answers = {o.network: o.answer for o in ResultsFile(tmp_path / "out.csv").outcomes}
    assert answers == {"a.onnx": "sat", "b.onnx": "unknown: RayError: the node died", "c.onnx": "unsat"}
    assert (ray["num_gpus"], ray["max_retries"], ray["down"]) == (0.5, 1, True)


def test_without_ray_it_is_said_how_to_get_it(
    listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(OptionError, match=r"lirpa-verify\[ray\]"):
        distributed.run_on_ray(read_instances(listed), ResultsFile(tmp_path / "out.csv"), timeout=20)
