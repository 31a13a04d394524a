"""The examples in docstrings do what they say, in every package."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    ".".join(path.relative_to(source).with_suffix("").parts)
    for source in ROOT.glob("lirpa_*/src")
    for path in source.rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8") and "plugins_template" not in path.parts
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    failed, attempted = doctest.testmod(importlib.import_module(name))
    assert attempted > 0 and failed == 0
