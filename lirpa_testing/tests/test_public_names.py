"""Every public name can be had from the package, which is imported late."""

from __future__ import annotations

import subprocess
import sys

import pytest

import lirpa_testing


@pytest.mark.parametrize("name", lirpa_testing.__all__)
def test_every_name_is_found(name: str) -> None:
    found = getattr(lirpa_testing, name)
    assert name in dir(lirpa_testing)
    assert getattr(found, "__name__", name) == name  # and not a module that happens to be called so


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        lirpa_testing.nonsense  # noqa: B018


def test_pytest_does_not_load_torch_with_the_plugin() -> None:
    code = (
        "import sys, lirpa_testing.pytest_plugin; print(sorted({'torch', 'lirpa_core'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
