"""Lists are worked through, whatever happens to single instances."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from lirpa_verify.errors import InstancesError
from lirpa_verify.instances import ResultsFile, read_instances, run_instances
from lirpa_verify.instances.table import by_family
from lirpa_verify.running import Failed, Finished, Overran, Work

from lirpa_core.errors import OptionError


@pytest.fixture
def listed(absolute_onnx: Path, write_query: Callable[..., Path], tmp_path: Path) -> Path:
    write_query("(assert (>= Y_0 2.1))", name="holds.vnnlib")
    write_query("(assert (>= Y_0 1.9))", name="fails.vnnlib")
    path = tmp_path / "instances.csv"
    lines = [f"{absolute_onnx.name},{name}.vnnlib,20" for name in ("holds", "fails", "missing")]
    path.write_text("\n".join(lines))
    return path


def test_every_instance_has_a_result(listed: Path, tmp_path: Path) -> None:
    results = ResultsFile(tmp_path / "out.csv")
    told: list[str] = []
    run_instances(read_instances(listed), results, timeout=20, told=lambda _o, text: told.append(text))
    answers = {o.query: o.answer for o in ResultsFile(tmp_path / "out.csv").outcomes}
    assert answers["holds.vnnlib"] == "unsat"
    assert answers["fails.vnnlib"] == "sat"
    assert answers["missing.vnnlib"].startswith("error: cannot read the property file")
    assert "proved by" in told[0]
    assert run_instances(read_instances(listed), results, timeout=20) == []


@pytest.mark.parametrize("changed", ["network", "query"])
def test_answers_about_other_files_are_not_kept(changed: str, listed: Path, tmp_path: Path) -> None:
    instances = read_instances(listed)[:2]
    solved = Scripted(("unsat", ""))
    run_instances(instances[:1], ResultsFile(tmp_path / "out.csv"), timeout=20, runner=solved)
    assert len(run_instances(instances, ResultsFile(tmp_path / "out.csv"), timeout=20, runner=solved)) == 1
    path = instances[0].paths[changed == "query"]
    before = path.read_bytes()
    path.write_bytes(before + b"\n")
    with pytest.raises(InstancesError, match=rf"{path.name} is not what it was .*out\.csv"):
        run_instances(instances, ResultsFile(tmp_path / "out.csv"), timeout=20, runner=solved)
    path.write_bytes(before)
    assert run_instances(instances, ResultsFile(tmp_path / "out.csv"), timeout=20, runner=solved) == []


class Scripted:
    """Stands in for processes: every part ends as it is told."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def run(self, work: Work, parts: Sequence[Any]) -> Iterator[Finished]:
        assert work.kept == 1
        for part in parts:
            assert part.folder.is_absolute()
            yield Finished(part, self.answer, 0.5, 1.5)


@pytest.mark.parametrize(
    ("answer", "written"),
    [
        (Failed("the process ended with code 1"), "unknown: the process ended with code 1"),
        (Overran(), "timeout"),
        (("unsat", "proved by IBP"), "unsat"),
    ],
)
def test_an_instance_whose_process_fails_is_unknown(
    listed: Path, tmp_path: Path, answer: Any, written: str
) -> None:
    results = ResultsFile(tmp_path / "out.csv")
    outcomes = run_instances(read_instances(listed)[:1], results, timeout=20, runner=Scripted(answer))
    assert [(o.answer, o.preparing, o.seconds) for o in outcomes] == [(written, 0.5, 1.5)]
    (row,) = by_family(outcomes, read_instances(listed))
    assert (row.unknown, row.failed) == (int(written != "unsat"), 0)


def test_a_timeout_of_zero_is_refused(listed: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="timeout=0"):
        run_instances(read_instances(listed), ResultsFile(tmp_path / "out.csv"), timeout=0)


def test_a_killed_run_goes_on_where_it_was(listed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    command = [
        sys.executable,
        "-m",
        "lirpa_core",
        "verify",
        "--instances",
        str(listed),
        "--results",
        str(out),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (out.exists() and out.read_bytes()) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = out.read_bytes()
    assert before.count(b"\n") >= 1
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr  # one instance is an error
    assert out.read_bytes().startswith(before)
    assert len(ResultsFile(out).outcomes) == 3
