"""The table of a run: one of a profile, what was run last counts, and nothing else is kept."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from click.testing import CliRunner

from lirpa_core.cli.group import cli

PROGRAM = Path(__file__).parents[2] / "scripts" / "conformance_page.py"


def test_a_table_of_one_run(tmp_path, monkeypatch):
    saved = tmp_path / "fast.json"
    arguments = ["check", "core", "-k", "aten.relu.default", "--profile", "fast", "--save", str(saved)]
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    program = runpy.run_path(str(PROGRAM))
    page = tmp_path / "build" / "page.md"
    monkeypatch.setitem(program["main"].__globals__, "PAGE", page)
    program["main"](str(saved), str(saved))
    text = page.read_text()
    assert "profile fast" in text and text.count("| core | aten.relu.default | interval |") == 1
    with pytest.raises(SystemExit, match="one profile"):
        program["main"]()
