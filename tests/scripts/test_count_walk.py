"""The counts of a walk through known files."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

_PROGRAM = Path(__file__).parents[2] / "scripts" / "count_walk.py"


@pytest.fixture
def program():
    spec = importlib.util.spec_from_file_location("count_walk", _PROGRAM)
    module = importlib.util.module_from_spec(spec)
    sys.modules["count_walk"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["count_walk"]


def _load(path: Path):
    scope: dict = {}
    exec(compile(path.read_text(), str(path), "exec"), scope)
    return scope


def test_counts_of_two_files(program, tmp_path):
    root, outside = tmp_path / "package", tmp_path / "elsewhere"
    for folder in (root, outside):
        folder.mkdir()
    (root / "b.py").write_text(
        "def leaf():\n    return 1\nclass C:\n    def method(self):\n        return 2\n"
    )
    (outside / "c.py").write_text("def unseen():\n    return 3\n")
    scope = _load(root / "b.py")
    (root / "a.py").write_text(
        "def top(leaf, c, unseen):\n"
        "    inner = lambda: leaf()\n"
        "    return inner() + leaf() + unseen() + helper() + c.method()\n"
        "def helper():\n    return 0\n"
    )
    top = _load(root / "a.py")["top"]
    unseen = _load(outside / "c.py")["unseen"]
    found = program.walk(lambda: top(scope["leaf"], scope["C"](), unseen), [root])
    # top, lambda, leaf, leaf, helper, method: files a a b b a b
    assert (found.files, found.functions, found.calls, found.moves) == (2, 4, 6, 3)
    assert found.by_file == {"package/a.py": 3, "package/b.py": 3}
    assert sys.getprofile() is None


def test_command(program, tmp_path, capsys):
    path = tmp_path / "walk.json"
    assert program.main(["--method", "IBP", "--files", "--json", str(path)]) == 0
    found = json.loads(path.read_text())
    assert found["calls"] == sum(found["by_file"].values()) > found["functions"] > 0
    assert f"{found['files']} files" in capsys.readouterr().out
