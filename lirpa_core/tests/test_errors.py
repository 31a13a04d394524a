"""Every error is a `LirpaError`, and also the built-in one that callers expect; each has an entry in the guide."""

from __future__ import annotations

from pathlib import Path

import pytest

from lirpa_core import errors

ALL = [
    e
    for e in vars(errors).values()
    if isinstance(e, type) and issubclass(e, Exception) and not issubclass(e, Warning)
]
GUIDE = Path(__file__).parents[2] / "docs" / "troubleshooting.md"


@pytest.mark.parametrize("error", ALL, ids=lambda e: e.__name__)
def test_the_family_and_the_guide(error: type[Exception]) -> None:
    assert issubclass(error, errors.LirpaError) and error.__doc__
    assert error.__name__ in GUIDE.read_text() or error in (errors.LirpaError, errors.CaptureError)


def test_builtin_relatives() -> None:
    assert issubclass(errors.InputError, ValueError) and issubclass(errors.OptionError, ValueError)
    assert issubclass(errors.UnsupportedOperatorError, NotImplementedError)
    assert issubclass(errors.NonFiniteBoundError, ArithmeticError)
    assert issubclass(errors.PluginConflictError, errors.PluginError)
