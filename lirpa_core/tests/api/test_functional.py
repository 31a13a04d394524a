"""The functional layer, step by step, gives what `BoundedModule` gives."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm, functional
from lirpa_core.methods import CROWN
from lirpa_testing import method_names


@pytest.mark.parametrize("method", method_names(optimized=False))
@pytest.mark.parametrize("specified", [False, True])
def test_step_by_step_is_at_once(method: str, specified: bool) -> None:
    torch.manual_seed(0)
    model, x = (
        nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)).double().eval(),
        torch.randn(4, 3).double(),
    )
    point = BoundedTensor(x, PerturbationLpNorm(eps=0.2))
    C = torch.randn(4, 3, 2).double() if specified else None
    expected = BoundedModule(model, x).compute_bounds(x=point, method=method, C=C)
    problem = functional.bind(functional.capture(model, x), point)
    (node,) = functional.output_names(problem)
    inner = functional.intermediate_bounds(problem, method, wanted=(node,))
    rows = None if C is None else functional.specification_rows(problem, problem.graph[node], C)
    found = functional.row_bounds(problem, method, node, inner, rows)
    functional.check_bounds(problem, inner.intervals, found.lower, found.upper)
    torch.testing.assert_close(found.lower, expected.lower.T)
    torch.testing.assert_close(found.upper, expected.upper.T)


def test_a_form_concretizes_to_the_bound() -> None:
    model, x = nn.Linear(3, 2).double().eval(), torch.randn(4, 3).double()
    problem = functional.bind(
        functional.capture(model, x), BoundedTensor(x, PerturbationLpNorm(norm=2, eps=0.2))
    )
    (node,) = functional.output_names(problem)
    inner = functional.intermediate_bounds(problem, "CROWN", wanted=(node,))
    found = functional.row_bounds(problem, "CROWN", node, inner, linear_bounds=True)
    assert found.lower_form is not None
    torch.testing.assert_close(functional.concretize(problem, found.lower_form), found.lower)


def test_methods_by_name_and_as_they_are() -> None:
    method = CROWN()
    assert functional.find_method(method) is method and functional.find_method("backward").name == "CROWN"


def test_nothing_promised_is_missing() -> None:
    assert all(hasattr(functional, name) for name in functional.__all__)
