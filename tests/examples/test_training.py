"""The training programs: they run, resume where they were killed, and refuse what cannot work."""

from __future__ import annotations

import csv
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

for needed in ("rich", "sklearn"):
    pytest.importorskip(needed)


@pytest.fixture(autouse=True)
def importable() -> Iterator[None]:
    """What the programs import beside themselves, found as when they are run."""
    before, modules = list(sys.path), set(sys.modules)
    sys.path[:0] = [str(EXAMPLES), str(EXAMPLES / "vision")]
    yield
    sys.path[:] = before
    for name in set(sys.modules) - modules:
        if name.partition(".")[0] in {"training", "models"}:
            del sys.modules[name]


def program(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, EXAMPLES / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def metrics(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_simple_training_smoke(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main = program("vision/simple_training.py").main
    assert main(["--smoke", "--model", "mlp", "--out", str(tmp_path)]) == 0
    rows = metrics(tmp_path)
    assert [row["epoch"] for row in rows] == ["1.0", "2.0"]
    assert all(float(r["test_error"]) <= float(r["verified_error"]) <= 1 for r in rows)
    capsys.readouterr()
    verify = ["--smoke", "--model", "mlp", "--verify", "--load", str(tmp_path / "checkpoint.pt")]
    assert main(verify) == 0
    assert f"verified error {float(rows[-1]['verified_error']):.2%}" in capsys.readouterr().out
