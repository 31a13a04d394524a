"""The page of ways of writing lists every pattern that is installed."""

from __future__ import annotations

from pathlib import Path

from lirpa_core.plugins import default_registry

PAGE = Path(__file__).parents[2] / "docs" / "written_out.md"


def test_every_pattern_is_in_the_table() -> None:
    rows = [
        line.replace("\\|", "|").split(" | ")
        for line in PAGE.read_text().splitlines()
        if line.startswith("| ")
    ]
    listed = {f"{row[0].removeprefix('| ')}: {row[1]}" for row in rows[2:]}
    assert listed == set(default_registry().patterns)
