"""The benchmark of loss fusion runs, and times what it says."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import training


def test_runs_small(tmp_path: Path) -> None:
    path = tmp_path / "training.json"
    arguments = ["--repeat", "1", "--batch", "2", "--size", "8", "--most-unfused", "10", "--no-memory"]
    status = training.main([*arguments, "--json", str(path)])
    found = json.loads(path.read_text())
    assert [(m["fused"], m["classes"]) for m in found] == [
        (True, 10), (True, 200), (True, 1000), (False, 10),
    ]  # fmt: skip
    assert all(m["ms"] > 0 for m in found)
    assert status == (0 if found[2]["ratio"] <= training.TARGET else 1)
