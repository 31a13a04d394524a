"""Where the user's code ends."""

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
