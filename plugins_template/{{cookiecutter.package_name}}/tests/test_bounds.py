"""A model of all the operators: no point of the set leaves the bounds, whatever the method."""

from __future__ import annotations

import pytest
import torch
from lirpa_core import BoundedModule, BoundedTensor, Perturbation, PerturbationLpNorm
from lirpa_core.plugins import build_registry
from lirpa_testing import method_names
from torch import Tensor, nn

from {{ cookiecutter.module_name }} import (
    PerturbationBrightness,
    Squash,
    bump,
    differences,
    length,
    pairwise,
    plugin,
)


class Model(nn.Module):
    """Uses every operator of the package."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.squash = nn.Linear(4, 5), Squash(2.0)

    def forward(self, x: Tensor) -> Tensor:
        h = differences(self.squash(self.first(x)))
        return pairwise(bump(h), length(h, x)).flatten(-2)


@pytest.mark.parametrize("method", method_names())
@pytest.mark.parametrize("perturbation", [PerturbationLpNorm(eps=0.2), PerturbationBrightness(0.2)])
def test_bounds_hold(method: str, perturbation: Perturbation) -> None:
    torch.manual_seed(0)
    model, x = Model().double().eval(), torch.randn(3, 4, dtype=torch.float64)
    bounded = BoundedModule(model, x, registry=build_registry([plugin]))
    lower, upper = bounded.compute_bounds(x=BoundedTensor(x, perturbation), method=method)
    samples = perturbation.sample(x, 200, torch.Generator().manual_seed(1))
    outputs = model(samples.flatten(0, 1)).unflatten(0, (200, 3))
    assert (lower - 1e-9 <= outputs).all() and (outputs <= upper + 1e-9).all()
