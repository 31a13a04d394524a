"""Reports have every family and instance, in both formats."""

from __future__ import annotations

from pathlib import Path

import pytest
from lirpa_verify.errors import InstancesError
from lirpa_verify.instances import Outcome
from lirpa_verify.instances.report import write_report

OUTCOMES = [
    Outcome("a", "a/n.onnx", "a/p.vnnlib", 0.0, "sat", 1.5),
    Outcome("b", "b/n.onnx", "b/p.vnnlib", 0.0, "error: <broken> | file", 0.1),
]


@pytest.mark.parametrize(("name", "escaped"), [("r.html", "&lt;broken&gt;"), ("r.md", "<broken> \\| file")])
def test_everything_is_there(tmp_path: Path, name: str, escaped: str) -> None:
    write_report(tmp_path / name, OUTCOMES, [])
    text = (tmp_path / name).read_text()
    assert escaped in text
    assert all(o.network in text for o in OUTCOMES)
    assert "<svg" in (text if name == "r.html" else (tmp_path / "r.svg").read_text())


def test_other_endings_and_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InstancesError, match=r"\.html or \.md"):
        write_report(tmp_path / "r.doc", OUTCOMES, [])
    with pytest.raises(InstancesError, match="cannot write the report"):
        write_report(tmp_path / "missing" / "r.html", OUTCOMES, [])
