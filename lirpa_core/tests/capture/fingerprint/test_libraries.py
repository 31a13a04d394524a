"""Where the user's code ends."""

import logging  # noqa: F401 - below, by its name
import sys
import types

import pytest

from lirpa_core.capture.fingerprint.libraries import is_library, is_opaque


@pytest.mark.parametrize("module", ["torch.nn.modules.linear", "numpy", "copy", "functools", "logging"])
def test_what_is_a_library(module):
    assert is_library(module)


@pytest.mark.parametrize("module", [None, "", "mine", "torchvision.models", "__main__", "copying"])
def test_what_is_the_users(module):
    assert not is_library(module)
    assert not is_opaque(module)


def test_objects_of_the_standard_library_may_hold_what_the_user_put_there():
    assert not is_opaque("types")
    assert not is_opaque("functools")
    assert is_opaque("logging")


@pytest.mark.parametrize("name", ["statistics.models", "test", "code"])
def test_a_module_of_the_users_may_have_a_name_of_the_standard_library(name, monkeypatch, tmp_path):
    module = types.ModuleType(name)
    module.__file__ = str(tmp_path / "models.py")
    monkeypatch.setitem(sys.modules, name, module)
    assert not is_library(name)
    monkeypatch.delitem(sys.modules, name)
    assert not is_library("statistics.missing"), "nobody knows whose it is"
