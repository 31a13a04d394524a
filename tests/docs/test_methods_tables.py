"""The table of methods in the documentation is that of the registry."""

from __future__ import annotations

import re
from pathlib import Path

from lirpa_core.plugins import default_registry

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `([\w+-]+)` \| ((?:`[\w+-]+`(?:, )?)*) ?\|", re.MULTILINE)


def test_the_table_lists_every_method_with_its_other_names() -> None:
    table = (ROOT / "docs" / "methods.md").read_text().partition("| method |")[2].partition("\n\n")[0]
    rows = {name: set(re.findall(r"`([\w+-]+)`", others)) for name, others in ROW.findall(table)}
    core = {e.method.name: set(e.method.aliases) for e in default_registry().methods if e.plugin == "core"}
    assert rows == core
