"""The command for a GPU: its dry run on the CPU, and what its parts say of things that are known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
import torch
from benchmarks import checkout
from benchmarks.device import agreement, page
from benchmarks.device.__main__ import SHARES, main
from benchmarks.device.models import MODELS
from benchmarks.device.run import Record, Run, reason
from benchmarks.device.synchronisation import Waits

#: Runs the command as a machine would that has neither rich nor an installed lirpa ahead of the path.
_PROGRAM = """
import runpy, sys
sys.modules["rich"] = None
sys.argv = ["benchmarks.device", "--dry-run", "--json", sys.argv[1]]
runpy.run_module("benchmarks.device", run_name="__main__")
"""


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    path = tmp_path_factory.mktemp("device") / "figures.json"
    folders = os.pathsep.join(str(s) for s in checkout.sources(checkout.HERE))
    environment = {**os.environ, "PYTHONPATH": folders, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _PROGRAM, str(path)],
        cwd=checkout.HERE, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    return path


@pytest.mark.slow
class TestDryRun:
    def test_every_part_ran(self, figures):
        parts = json.loads(figures.read_text())["parts"]
        assert list(parts) == list(SHARES)
        for name, part in parts.items():
            assert "failed" not in part and part["items"], name
            assert not any("left_out" in item for item in part["items"]), f"{name} ran out of time"

    def test_bounds_agree(self, figures):
        items = json.loads(figures.read_text())["parts"]["agreement"]["items"]
        judged = [i for i in items if "equal" in i]
        assert {(i["model"], i["method"]) for i in judged if i["dtype"] == "float32"} == {
            (model, method)
            for model in MODELS
            for method in agreement.METHODS
            if model in agreement.DRY or method == "IBP"
        }
        assert len(MODELS) == 12
        assert all(i["equal"] for i in judged)
        assert all(i["width"] > 0 for i in judged if not i["tf32"])

    def test_nothing_failed_and_recordings_agree(self, figures):
        parts = json.loads(figures.read_text())["parts"]
        assert not [i for part in parts.values() for i in part["items"] if "failed" in i]
        recorded = [i for i in parts["capture"]["items"] if i["method"] != "module"]
        assert recorded and all(item["equal"] for item in recorded)

    def test_costs(self, figures):
        items = json.loads(figures.read_text())["parts"]["cost"]["items"]
        timed = [i for i in items if i["method"] != "capture"]
        assert {i["batch"] for i in timed} == {1, 2}
        assert all(i["seconds"] > 0 and i["operators"] > 0 and i["mib"] >= 0 for i in timed)

    def test_page(self, figures, tmp_path):
        to = tmp_path / "page.md"
        assert main(["--page", str(to), "--from", str(figures)]) == 0
        text = to.read_text()
        assert "dry run" in text and "a small MLP" not in text and " ms, " in text


class TestJudge:
    def test_rounding_is_equal_and_more_is_not(self):
        lower, upper, size = torch.zeros(2, 3), torch.ones(2, 3), torch.full((2, 3), 10.0)
        unit = torch.finfo(torch.float32).eps / 2
        for factor, equal in ((0.5, True), (2.0, False)):
            moved = upper.clone()
            moved[1, 2] += factor * agreement.GROWTH * unit * 10
            found = agreement.judge((lower, upper), (lower, moved), size, torch.float32)
            assert found["equal"] is equal
            assert found["units"] == pytest.approx(factor * agreement.GROWTH, rel=0.05)

    def test_tf32_would_be_seen(self):
        # Factors of 11 bits instead of 24, in a sum without cancellation.
        torch.manual_seed(0)
        a, b = torch.rand(64, 64), torch.rand(64, 64)
        rounded = [(t.view(torch.int32) & ~0x1FFF).view(torch.float32) for t in (a, b)]
        exact, rough = a @ b, rounded[0] @ rounded[1]
        found = agreement.judge((exact, exact + 1), (rough, rough + 1), exact.double(), torch.float32)
        assert not found["equal"]

    def test_what_is_not_finite_fails(self):
        good, bad = torch.zeros(1, 1), torch.full((1, 1), float("nan"))
        found = agreement.judge((good, good), (good, bad), torch.ones(1, 1), torch.float32)
        assert "failed" in found

    def test_size_is_that_of_sums_without_cancellation(self):
        size = agreement._size(MODELS["MLP, ReLU"], 1)
        network, x = MODELS["MLP, ReLU"].build(1, torch.float64)
        assert bool((size >= network(x).abs()).all())


class TestRun:
    def test_what_there_is_no_time_for_is_recorded(self, tmp_path):
        record = Record(tmp_path / "kept" / "figures.json")
        run = Run(
            torch.device("cpu"),
            True,
            time.monotonic() - 1,
            record.content["parts"].setdefault("p", []),
            record,
        )
        assert list(run.steps([1, 2, 3])) == []
        assert json.loads(record.path.read_text())["parts"]["p"] == [{"left_out": 3, "reason": "time"}]

    def test_a_failure_is_an_item(self):
        def work():
            raise ZeroDivisionError("no\nnumber")

        run = Run(torch.device("cpu"), True, time.monotonic() + 1, [], Record(None))
        found = run.attempt({"model": "m"}, work)
        assert found == {"model": "m", "failed": "ZeroDivisionError: no number"} == run.items[0]

    def test_an_error_names_the_line_of_lirpa(self):
        from lirpa_core import BoundedModule
        from lirpa_core.errors import LirpaError

        with pytest.raises(LirpaError) as caught:
            BoundedModule(torch.nn.Linear(2, 2), torch.rand(1, 3))
        assert "(lirpa_core/" in reason(caught.value)

    def test_needs_a_device(self, capsys, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert main([]) == 2
        assert "--dry-run" in capsys.readouterr().err


def test_operators_that_wait_are_counted():
    x = torch.rand(4)
    with Waits() as waits:
        _ = x + x, x[1:], x[torch.tensor([1, 2])]
    assert waits.places.total() == 0
    with Waits() as waits:
        _ = float(x[0]), x.nonzero(), x[x > 2]
        x[x > 2] = 0.0
    assert waits.places.total() == 4


def test_page_without_figures(tmp_path):
    to = tmp_path / "page.md"
    page.write_page(to, None)
    text = to.read_text()
    assert "No GPU was at hand" in text
    assert all(name in text for name in MODELS)
    assert text.count(page.MISSING) > 100
