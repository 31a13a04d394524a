"""A hybrid is its inner method inside and its outer method outside."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lirpa_core.methods import CROWN, IBP, AlphaCROWN, Forward, Hybrid, SlopeSearch, crown_forward, crown_ibp


@pytest.mark.parametrize(("hybrid", "inner"), [(crown_ibp(), IBP()), (crown_forward(), Forward())])
def test_it_is_one_inside_and_the_other_outside(setting: Any, hybrid: Hybrid, inner: Any) -> None:
    problem, node = setting.problem, setting.node
    between = inner.intermediate_bounds(problem, wanted=(node,))
    found = hybrid.intermediate_bounds(problem, wanted=(node,))
    for name, interval in found.intervals.items():
        assert torch.equal(interval.lower, between.intervals[name].lower)
    expected = CROWN().bound_rows(problem, node, between)
    got = hybrid.bound_rows(problem, node, found)
    assert torch.equal(got.lower, expected.lower) and torch.equal(got.upper, expected.upper)


def test_it_says_what_its_outer_method_can_return() -> None:
    assert crown_ibp().gives_linear_bounds
    assert not Hybrid("backwards", CROWN(), IBP()).gives_linear_bounds


def test_settings_of_the_search_reach_both() -> None:
    hybrid = Hybrid("both", AlphaCROWN(steps=7), AlphaCROWN(steps=7)).with_slope_search(
        SlopeSearch(iteration=2)
    )
    assert isinstance(hybrid, Hybrid) and hybrid.name == "both"
    assert hybrid.inner.steps == hybrid.outer.steps == 2  # type: ignore[attr-defined]
