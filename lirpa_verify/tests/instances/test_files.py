"""Lists are read as VNN-COMP writes them; files of results lose nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from lirpa_verify.errors import InstancesError
from lirpa_verify.instances import Outcome, ResultsFile, read_instances
from lirpa_verify.instances.table import by_family


def outcome(network: str = "a/n.onnx", query: str = "a/p.vnnlib", answer: str = "sat") -> Outcome:
    return Outcome("a", network, query, 0.0, answer, 1.5)


def test_lists_without_names_of_columns_have_vnncomps(tmp_path: Path) -> None:
    path = tmp_path / "instances.csv"
    path.write_text("onnx/n.onnx,vnnlib/p.vnnlib,30\n\nonnx/n.onnx,vnnlib/q.vnnlib.gz,116.5\n")
    first, second = read_instances(path)
    assert (first.network, first.timeout, first.expected) == ("onnx/n.onnx", 30.0, None)
    assert first.family == tmp_path.name
    assert second.paths == (tmp_path / "onnx/n.onnx", tmp_path / "vnnlib/q.vnnlib.gz")


def test_lists_may_name_their_columns(tmp_path: Path) -> None:
    path = tmp_path / "instances.csv"
    path.write_text("vnnlib,onnx,expected\nacas/p.vnnlib,acas/n.onnx,unsat\n")
    (only,) = read_instances(path)
    assert (only.network, only.query, only.expected, only.family) == (
        "acas/n.onnx",
        "acas/p.vnnlib",
        "unsat",
        "acas",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no instances"),
        ("n.onnx\n", "line 1: expected a network and a property"),
        ("a,b,soon\n", "'soon'"),
    ],
)
def test_lists_that_cannot_be_used_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "instances.csv"
    path.write_text(text)
    with pytest.raises(InstancesError, match=message):
        read_instances(path)
    with pytest.raises(InstancesError, match="cannot read"):
        read_instances(tmp_path / "missing.csv")


def test_results_come_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.csv"
    ResultsFile(path).append(outcome(answer='error: a "quoted", thing'))
    assert ResultsFile(path).outcomes == [outcome(answer='error: a "quoted", thing')]


def test_what_a_killed_run_left_of_a_line_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    ResultsFile(path).append(outcome())
    whole = path.read_bytes()
    path.write_bytes(whole + b"a,b/n.onnx,b/p.vn")
    file = ResultsFile(path)
    assert path.read_bytes() == whole
    file.append(outcome("b/n.onnx"))
    assert [o.network for o in ResultsFile(path).outcomes] == ["a/n.onnx", "b/n.onnx"]


def test_another_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("my notes\n")
    with pytest.raises(InstancesError, match="is it a file of results"):
        ResultsFile(path)
    assert path.read_text() == "my notes\n"


def test_the_table_counts_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "instances.csv"
    path.write_text(
        "onnx,vnnlib,expected\na/n.onnx,a/p.vnnlib,unsat\na/n.onnx,a/q.vnnlib,sat\nb/n.onnx,b/p.vnnlib,\n"
    )
    outcomes = [
        outcome(),
        outcome(query="a/q.vnnlib"),
        Outcome("b", "b/n.onnx", "b/p.vnnlib", 0.0, "timeout", 60.0),
    ]
    a, b, everything = by_family(outcomes, read_instances(path))
    assert (a.instances, a.refuted, a.wrong, a.quick) == (2, 2, 1, 2)
    assert (b.unknown, b.wrong, b.quick) == (1, 0, 0)
    assert (everything.instances, everything.wrong) == (3, 1)
