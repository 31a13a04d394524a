"""The list of methods that tests loop over."""

from __future__ import annotations

import pytest
import torch

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import OptionError
from lirpa_core.plugins import default_registry
from lirpa_testing import few_steps, method_names


def test_all_methods_are_there() -> None:
    assert set(method_names()) == {entry.method.name for entry in default_registry().methods}
    assert {"IBP", "forward", "CROWN-IBP", "CROWN-forward", "CROWN", "CROWN-Optimized"} <= set(method_names())
    assert set(method_names()) - set(method_names(optimized=False)) == {"CROWN-Optimized", "auto"}


@pytest.mark.parametrize("method", method_names())
def test_those_with_linear_bounds_return_them_and_others_refuse(method: str) -> None:
    x = torch.zeros(1, 2)
    bounded, point = BoundedModule(torch.nn.ReLU(), x), BoundedTensor(x, PerturbationLpNorm(eps=0.5))
    if method in method_names(affine=True):
        assert bounded.compute_bounds(x=point, method=method, return_A=True)[2]
    else:
        with pytest.raises(OptionError, match="returns no linear bounds"):
            bounded.compute_bounds(x=point, method=method, return_A=True)


def test_few_steps_are_fewer_and_no_tighter() -> None:
    torch.manual_seed(0)
    layers = [
        torch.nn.Linear(4, 16),
        torch.nn.ReLU(),
        torch.nn.Linear(16, 16),
        torch.nn.ReLU(),
        torch.nn.Linear(16, 1),
    ]
    model, x = torch.nn.Sequential(*layers).double().eval(), torch.randn(2, 4, dtype=torch.float64)
    gaps = []
    for options in (few_steps(1), few_steps(), {}):
        bounded = BoundedModule(model, x, bound_opts=options)
        lower, upper = bounded.compute_bounds(
            x=BoundedTensor(x, PerturbationLpNorm(eps=0.5)), method="CROWN-Optimized"
        )
        gaps.append(float((upper - lower).sum().detach()))
    assert gaps[0] >= gaps[1] > gaps[2]
