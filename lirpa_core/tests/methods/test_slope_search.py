"""The settings of the search reach α-CROWN under its own names."""

from __future__ import annotations

import dataclasses

import pytest

from lirpa_core.methods import AlphaCROWN, SlopeSearch

OWN = {
    "iteration": ("steps", 7),
    "lr_alpha": ("step_size", 0.125),
    "lr_decay": ("step_decay", 0.5),
    "use_shared_alpha": ("share_slopes", True),
    "fix_interm_bounds": ("fix_intermediate", True),
    "inner_iteration": ("inner_steps", 3),
    "inner_rows": ("inner_rows", 5),
}


def test_the_defaults_are_the_methods_own() -> None:
    method = AlphaCROWN()
    assert {f.name for f in dataclasses.fields(SlopeSearch)} == set(OWN)
    assert method.with_slope_search(SlopeSearch()) == method


@pytest.mark.parametrize("name", OWN)
def test_each_setting_arrives(name: str) -> None:
    own, value = OWN[name]
    changed = AlphaCROWN().with_slope_search(SlopeSearch(**{name: value}))
    assert getattr(changed, own) == value != getattr(AlphaCROWN(), own)
