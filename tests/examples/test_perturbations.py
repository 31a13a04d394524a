"""The examples of threat models: they run, write what they promise, and certify no more than is true."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

for needed in ("matplotlib", "rich", "sklearn"):
    pytest.importorskip(needed)


def load(path: str) -> ModuleType:
    import sys

    spec = importlib.util.spec_from_file_location(Path(path).stem, EXAMPLES / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[spec.name]
    return module


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_l0_certification(tmp_path: Path) -> None:
    example = load("vision/l0_certification.py")
    options = ["--eps", "1,2", "--steps", "120", "--samples", "40", "--out", str(tmp_path)]
    assert example.main(options) == 0
    assert (tmp_path / "l0_certification.png").read_bytes().startswith(b"\x89PNG")
    found = rows(tmp_path / "l0_certification.csv")
    assert len(found) == 2 * 5
    for row in found:
        assert 0 <= float(row["certified"]) <= float(row["attacked"]) <= float(row["clean"]) <= 1
    assert any(float(row["certified"]) > 0.2 for row in found)


def test_l0_certification_explains_a_wrong_radius(capsys: pytest.CaptureFixture[str]) -> None:
    example = load("vision/l0_certification.py")
    assert example.main(["--eps", "100", "--steps", "1", "--samples", "2"]) == 1
    assert "there are only 64 pixels" in capsys.readouterr().err


def test_synonym_certification(tmp_path: Path) -> None:
    example = load("language/synonym_certification.py")
    options = ["--budgets", "0,1,2", "--samples", "12", "--steps", "60", "--out", str(tmp_path)]
    assert example.main(options) == 0
    assert (tmp_path / "synonym_certification.png").read_bytes().startswith(b"\x89PNG")
    found = rows(tmp_path / "synonym_certification.csv")
    assert len(found) == 2 * 3 * 5
    for row in found:
        assert 0 <= float(row["certified"]) <= float(row["exact"]) <= float(row["clean"]) <= 1


def test_synonym_certification_explains_a_bad_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "table.json").write_text('{"film": "movie"}')
    example = load("language/synonym_certification.py")
    assert example.main(["--synonyms", str(tmp_path / "table.json")]) == 1
    assert "must be a list of words" in capsys.readouterr().err
