"""The programs of the gallery are pages: the build of the documentation runs all of them, once, and ends at an error."""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = sorted((ROOT / "examples" / "gallery").glob("*.py"))


def test_every_program_has_its_place() -> None:
    order = runpy.run_path(str(ROOT / "docs" / "gallery_order.py"))
    assert sorted(order["ORDER"]) == [program.name for program in PROGRAMS]
    key = order["GalleryOrder"]("anywhere")
    assert sorted((p.name for p in PROGRAMS), key=key) == list(order["ORDER"])
    with pytest.raises(ValueError, match="tuple"):
        key("forgotten.py")


def test_the_build_runs_them_and_ends_at_an_error() -> None:
    conf = ast.parse((ROOT / "docs" / "conf.py").read_text())
    (settings,) = [
        ast.literal_eval(node.value)
        for node in conf.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "sphinx_gallery_conf"
    ]
    assert settings["abort_on_example_error"] and settings["plot_gallery"]
    assert all(re.search(settings["filename_pattern"], str(program)) for program in PROGRAMS)
    assert (ROOT / "docs" / settings["examples_dirs"]).resolve() == PROGRAMS[0].parent


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_a_program_asks_a_question_and_says_what_has_to_hold(program: Path) -> None:
    tree = ast.parse(program.read_text())
    title, line = (ast.get_docstring(tree) or "").splitlines()[:2]
    assert set(line) == {"="} and len(line) == len(title)
    assert any(isinstance(node, ast.Assert) for node in ast.walk(tree))
