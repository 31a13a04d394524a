"""Names and flags of methods, as users of the reference system combine them."""

from __future__ import annotations

import pytest

from lirpa_core.api.methods import requested_method
from lirpa_core.errors import OptionError
from lirpa_core.plugins import default_registry


@pytest.mark.parametrize(
    ("method", "flags", "expected"),
    [
        (None, {"IBP": True}, "IBP"),
        ("backward", {"IBP": True}, "CROWN-IBP"),
        ("CROWN-IBP", {"IBP": True}, "CROWN-IBP"),
        ("IBP", {"IBP": True}, "IBP"),
        (None, {"forward": True}, "forward"),
        ("CROWN", {"forward": True}, "CROWN-forward"),
        ("CROWN", {}, "CROWN"),
        ("alpha-CROWN", {"IBP": True}, "CROWN-Optimized on IBP"),
        ("CROWN-Optimized", {"forward": True}, "CROWN-Optimized on forward"),
    ],
)
def test_flags_and_names_together(method: str | None, flags: dict[str, bool], expected: str) -> None:
    assert requested_method(default_registry(), method, **flags).name == expected


@pytest.mark.parametrize(
    ("method", "flags", "says"),
    [
        (None, {}, "method='CROWN'"),
        ("CROWN", {"IBP": True, "forward": True}, "choose one"),
        ("IBP", {"forward": True}, "forward=True"),
        ("crwon", {"IBP": True}, "unknown method 'crwon'"),
    ],
)
def test_contradictions_are_named(method: str | None, flags: dict[str, bool], says: str) -> None:
    with pytest.raises(OptionError, match=says.replace("(", r"\(")):
        requested_method(default_registry(), method, **flags)
