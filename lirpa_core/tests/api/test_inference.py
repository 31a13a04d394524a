"""In `torch.inference_mode()` bounds are those outside of it, optimised ones too."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))


@pytest.mark.parametrize("method", ["IBP", "CROWN", "CROWN-Optimized"])
def test_bounds_are_those_outside(method: str) -> None:
    x = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    bounded = BoundedModule(net(), x)
    outside = bounded.compute_bounds(BoundedTensor(x, PerturbationLpNorm(eps=0.3)), method=method)
    with torch.inference_mode():
        point = BoundedTensor(x.clone(), PerturbationLpNorm(eps=torch.full((3,), 0.3)))
        inside = bounded.compute_bounds(point, method=method)
    torch.testing.assert_close(inside.lower, outside.lower.detach())
    torch.testing.assert_close(inside.upper, outside.upper.detach())


def test_a_model_of_inference_mode_keeps_the_slopes_of_crown() -> None:
    with torch.inference_mode():
        x = torch.rand(3, 4)
        point, bounded = BoundedTensor(x, PerturbationLpNorm(eps=0.3)), BoundedModule(net(), x)
        found = bounded.compute_bounds(point, method="CROWN-Optimized")
        torch.testing.assert_close(found.lower, bounded.compute_bounds(point, method="CROWN").lower)


@pytest.mark.parametrize("frozen", [False, True])
def test_optimised_bounds_where_nothing_is_left_to_optimise(frozen: bool) -> None:
    class Chosen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.linear(x)
            return torch.where(y > 0, y, 0.2 * y)

    x = torch.rand(3, 4)
    model = Chosen().requires_grad_(not frozen)
    point, bounded = BoundedTensor(x, PerturbationLpNorm(eps=0.3)), BoundedModule(model, x)
    crown = bounded.compute_bounds(point, method="CROWN")
    found = bounded.compute_bounds(point, method="CROWN-Optimized")
    assert bool((found.lower >= crown.lower - 1e-5).all() and (found.upper <= crown.upper + 1e-5).all())
