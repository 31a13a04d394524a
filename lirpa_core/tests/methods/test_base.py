"""The interface of methods: what every one returns has the promised shapes, and bounds hold."""

from __future__ import annotations

from typing import Any

import pytest

from lirpa_core.linear.coefficients import SelectedRows
from lirpa_core.methods import Method, SlopeSearch
from lirpa_core.plugins import default_registry
from lirpa_testing import method_names


def find(name: str) -> Method:
    return default_registry().find_method(name).with_slope_search(SlopeSearch(iteration=2))


@pytest.mark.parametrize("name", method_names())
@pytest.mark.parametrize("sides", [(True, True), (True, False), (False, True)])
def test_shapes_and_sides(setting: Any, name: str, sides: tuple[bool, bool]) -> None:
    method, problem, node = find(name), setting.problem, setting.node
    inner = method.intermediate_bounds(problem, wanted=(node,))
    assert inner.intervals[node].lower.shape == (4, *problem.shape(node))
    lower, upper = sides
    found = method.bound_rows(problem, node, inner, lower=lower, upper=upper)
    assert (found.lower is not None, found.upper is not None) == sides
    for side, sign in ((found.lower, 1), (found.upper, -1)):
        if side is not None:
            assert side.shape == (2, 4)
            assert bool((sign * (setting.outputs.transpose(1, 2) - side) >= -1e-9).all())


@pytest.mark.parametrize("name", method_names(affine=True))
def test_linear_bounds_come_where_they_are_promised(setting: Any, name: str) -> None:
    method, problem, node = find(name), setting.problem, setting.node
    assert method.gives_linear_bounds
    inner = method.intermediate_bounds(problem, wanted=(node,))
    rows = SelectedRows.identity(problem.shape(node), dtype=problem.dtype, device=problem.device)
    found = method.bound_rows(problem, node, inner, rows, linear_bounds=True)
    assert found.lower_form is not None and found.upper_form is not None
    for z, y in zip(setting.samples, setting.outputs, strict=True):
        for form, sign in ((found.lower_form, 1), (found.upper_form, -1)):
            value = form.bias + sum(A.dot(z) for A in form.coefficients.values())
            assert bool((value <= sign * y.T + 1e-9).all())


def test_a_method_without_slopes_ignores_a_search() -> None:
    crown = default_registry().find_method("CROWN")
    assert crown.with_slope_search(SlopeSearch(iteration=3)) is crown and str(crown) == "CROWN"
    assert str(find("alpha-CROWN")) == "CROWN-Optimized"
