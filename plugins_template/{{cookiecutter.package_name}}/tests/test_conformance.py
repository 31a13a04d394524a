"""Everything that the package registers keeps its promises, on boxes that are drawn to break them."""

from __future__ import annotations

import pytest
from lirpa_testing.conformance import Item, assert_conforms, suite_of

SUITE = suite_of("{{ cookiecutter.module_name }}")


@pytest.mark.parametrize("item", SUITE.items, ids=str)
def test_conforms(item: Item) -> None:
    assert_conforms(item, SUITE.registry)
