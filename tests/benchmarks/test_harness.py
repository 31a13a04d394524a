"""The benchmark harness: what it measures, keeps and compares. No test depends on how fast anything is."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest
import torch
from benchmarks import history
from benchmarks.__main__ import main
from benchmarks.cases import CASES, Case, Pair
from benchmarks.measure import Result, interleaved, run_case

CPU = torch.device("cpu")


class FakeClock:
    """Time that passes only in the work."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def work(self, name: str, seconds: float):
        def run() -> None:
            self.calls.append(name)
            self.now += seconds

        return run

    def __call__(self) -> float:
        return self.now


def test_samples_take_turns():
    clock = FakeClock()
    timing = interleaved(Pair(clock.work("a", 3.0), clock.work("b", 2.0)), 4, clock=clock)
    assert clock.calls[4:] == ["a", "b", "b", "a", "a", "b", "b", "a"]  # after two runs of each to warm up
    assert timing.ratios == pytest.approx([1.5] * 4)
    assert timing.overheads == pytest.approx([1000.0] * 4)


def test_short_work_is_repeated_within_a_sample():
    clock = FakeClock()
    timing = interleaved(Pair(clock.work("a", 0.001), clock.work("b", 1.0)), 2, clock=clock)
    assert clock.calls.count("a") >= 2 * 5
    assert timing.subject == pytest.approx([0.001] * 2)


def test_median_and_range():
    seconds = iter([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 4.0, 2.0, 3.0, 1.0])
    clock = FakeClock()

    def work() -> None:
        clock.now += next(seconds, 1.0)

    timing = interleaved(Pair(work, work), 3, clock=clock)
    assert sorted(timing.ratios) == pytest.approx([0.5, 1.0, 3.0])


def test_peak_counts_what_a_call_allocates():
    # In a process of its own, as in use: this one may hold memory that it freed and can give out again.
    program = """
import torch
from benchmarks.measure import peak
print(peak(lambda: torch.ones(2**24).sum(), torch.device("cpu")))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 0.5 * 64 < float(done.stdout) < 4 * 64


@pytest.fixture
def tiny_case(monkeypatch) -> Case:
    case = Case(
        "test-case",
        "sums",
        lambda device: Pair(lambda: torch.ones(9).sum(), lambda: torch.ones(9)),
        target=1e9,
    )
    monkeypatch.setattr("benchmarks.__main__.CASES", (case,))
    return case


def test_run_case(tiny_case):
    found = run_case(tiny_case, CPU, repeat=3, memory=False)
    assert found.least <= found.value <= found.most
    assert found.subject_mb is None


def test_command_keeps_and_compares(tiny_case, tmp_path, capsys):
    path = tmp_path / "history.jsonl"
    arguments = ["--repeat", "2", "--no-memory", "--history", str(path)]
    assert main(arguments) == 0
    assert main([*arguments, "--compare"]) == 0
    printed = capsys.readouterr().out
    assert "before" in printed and "met" in printed
    runs = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(runs) == 2
    assert {"date", "commit", "machine", "versions", "results"} <= runs[0].keys()
    assert main([*arguments, "--no-save"]) == 0
    assert len(history.load(path)) == 2


def test_comparison_is_with_the_same_machine():
    result = Result("case", 1.0, 1.0, 2.0, 2.0, 2.0, 2.0)
    here, there = {"device": "x", "threads": 1}, {"device": "y", "threads": 1}
    old = {"machine": here, "results": [dataclasses.asdict(dataclasses.replace(result, value=3.0))]}
    other = {"machine": there, "results": [dataclasses.asdict(result)]}
    found = history.before({"machine": here}, [old, other])
    assert found["case"].value == 3.0
    assert history.before({"machine": here}, [other]) == {}


def test_broken_history_names_the_line(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text('{"a": 1}\n{"b"\n')
    with pytest.raises(ValueError, match="line 2"):
        history.load(path)
    assert history.load(tmp_path / "none") == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--case", "none-such"],
        ["--device", "tpu"],
        ["--device", "meta"],
        ["--repeat", "0"],
        ["--threads", "0"],
    ],
)
def test_bad_arguments(arguments, capsys):
    assert main(arguments) == 2
    assert "benchmarks:" in capsys.readouterr().err


def test_list(capsys):
    assert main(["--list"]) == 0
    printed = capsys.readouterr().out
    assert all(case.name in printed for case in CASES)


@pytest.mark.parametrize("case", [c for c in CASES if c.name.startswith("tiny")], ids=lambda c: c.name)
def test_tiny_cases_run(case):
    pair = case.make(CPU)
    pair.subject()
    pair.plain()
