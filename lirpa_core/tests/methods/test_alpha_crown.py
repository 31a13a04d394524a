"""Optimised slopes: tighter than CROWN, still sound, differentiable."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import OptionError


def network(activation: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Linear(4, 12), activation, nn.Linear(12, 12), activation, nn.Linear(12, 3)]
    return nn.Sequential(*layers).double()


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.Tanh(), nn.GELU(), nn.LeakyReLU(0.1)])
@pytest.mark.parametrize("norm", [2.0, float("inf")])
def test_tighter_than_crown_and_sound(activation: nn.Module, norm: float) -> None:
    model = network(activation)
    x = torch.randn(3, 4, dtype=torch.float64)
    point = BoundedTensor(x, PerturbationLpNorm(norm=norm, eps=0.5))
    bounded = BoundedModule(model, x)
    with torch.no_grad():
        crown = bounded.compute_bounds(x=point, method="CROWN")
        alpha = bounded.compute_bounds(x=point, method="alpha-CROWN")
        assert bool((alpha.lower >= crown.lower - 1e-12).all() and (alpha.upper <= crown.upper + 1e-12).all())
        assert float((alpha.upper - alpha.lower).mean()) < float((crown.upper - crown.lower).mean())
        for z in point.ptb.sample(x, 200):
            assert bool((alpha.lower <= model(z) + 1e-9).all() and (model(z) <= alpha.upper + 1e-9).all())


def test_an_affine_model_has_nothing_to_optimise() -> None:
    x = torch.randn(2, 4, dtype=torch.float64)
    model = nn.Linear(4, 2).double()
    point = BoundedTensor(x, PerturbationLpNorm(eps=0.5))
    bounded = BoundedModule(model, x)
    found = bounded.compute_bounds(x=point, method="CROWN-Optimized")
    assert torch.allclose(found.lower, bounded.compute_bounds(x=point, method="CROWN").lower)


def test_gradients_flow_through_the_best_slopes() -> None:
    model = network(nn.ReLU())
    x = torch.randn(2, 4, dtype=torch.float64)
    bounded = BoundedModule(model, x)
    C = torch.tensor([[[1.0, -1.0, 0.0]]] * 2, dtype=torch.float64)

    def loss() -> Tensor:
        point = BoundedTensor(x, PerturbationLpNorm(eps=0.3))
        lower: Tensor = bounded.compute_bounds(
            x=point, C=C, method="CROWN-Optimized", bound_upper=False
        ).lower
        return -lower.sum()

    before = loss()
    before.backward()
    gradient = model[0].weight.grad
    assert gradient is not None and bool(torch.isfinite(gradient).all()) and float(gradient.norm()) > 0
    with torch.no_grad():
        for p in model.parameters():
            if p.grad is not None:
                p.sub_(1e-3 * p.grad)
    assert float(loss().detach()) < float(before.detach())


def test_more_steps_are_never_looser() -> None:
    x = torch.randn(2, 4, dtype=torch.float64)
    point = BoundedTensor(x, PerturbationLpNorm(eps=0.5))
    lowers = []
    for steps in (1, 5, 25):
        options = {"optimize_bound_args": {"iteration": steps}}
        bounded = BoundedModule(network(nn.ReLU()), x, bound_opts=options)
        lowers.append(bounded.compute_bounds(x=point, method="alpha-CROWN").lower.detach())
    assert bool((lowers[1] >= lowers[0] - 1e-12).all() and (lowers[2] >= lowers[1] - 1e-12).all())


def optimized(
    model: nn.Module, x: Tensor, C: Tensor | None = None, **search: object
) -> tuple[Tensor, Tensor]:
    bounded = BoundedModule(model, x, bound_opts={"optimize_bound_args": search})
    point = BoundedTensor(x, PerturbationLpNorm(eps=0.5))
    with torch.no_grad():
        found = bounded.compute_bounds(x=point, C=C, method="alpha-CROWN")
    return found.lower, found.upper


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.Sigmoid()])
def test_every_row_is_as_tight_as_if_it_were_alone(activation: nn.Module) -> None:
    model, x = network(activation), torch.randn(3, 4, dtype=torch.float64)
    C = torch.randn(3, 4, 3, dtype=torch.float64)
    lower, upper = optimized(model, x, C)
    for k in range(4):
        alone = optimized(model, x, C[:, k : k + 1])
        torch.testing.assert_close(lower[:, k : k + 1], alone[0])
        torch.testing.assert_close(upper[:, k : k + 1], alone[1])


def test_every_example_is_as_tight_as_if_it_were_alone() -> None:
    model, x = network(nn.ReLU()), torch.randn(3, 4, dtype=torch.float64)
    lower, upper = optimized(model, x)
    for i in range(3):
        alone = optimized(model, x[i : i + 1])
        torch.testing.assert_close(lower[i : i + 1], alone[0])
        torch.testing.assert_close(upper[i : i + 1], alone[1])


def test_shared_slopes_are_looser_and_still_tighter_than_crown() -> None:
    model, x = network(nn.ReLU()), torch.randn(3, 4, dtype=torch.float64)
    point = BoundedTensor(x, PerturbationLpNorm(eps=0.5))
    with torch.no_grad():
        crown = BoundedModule(model, x).compute_bounds(x=point, method="CROWN")
    widths = [
        float((b[1] - b[0]).mean()) for b in (optimized(model, x), optimized(model, x, use_shared_alpha=True))
    ]
    assert widths[0] < widths[1] < float((crown.upper - crown.lower).mean())


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.Tanh()])
def test_optimised_inner_bounds_are_tighter_and_sound(activation: nn.Module) -> None:
    torch.manual_seed(1)
    layers = [nn.Linear(4, 12), activation, nn.Linear(12, 12), activation, nn.Linear(12, 12), activation]
    model, x = nn.Sequential(*layers, nn.Linear(12, 2)).double(), torch.randn(2, 4, dtype=torch.float64)
    fixed = optimized(model, x, fix_interm_bounds=True)
    lower, upper = optimized(model, x)
    assert float((upper - lower).mean()) < float((fixed[1] - fixed[0]).mean())
    for z in PerturbationLpNorm(eps=0.5).sample(x, 200):
        assert bool((lower <= model(z) + 1e-9).all() and (model(z) <= upper + 1e-9).all())


def test_a_small_memory_budget_changes_no_bound() -> None:
    model, x = network(nn.ReLU()), torch.randn(3, 4, dtype=torch.float64)
    C = torch.randn(3, 7, 3, dtype=torch.float64)
    lower, upper = optimized(model, x, C)
    point = BoundedTensor(x, PerturbationLpNorm(eps=0.5))
    with torch.no_grad():
        lean = BoundedModule(model, x, bound_opts={"memory_budget": 1}).compute_bounds(
            x=point, C=C, method="alpha-CROWN"
        )
    torch.testing.assert_close(lean.lower, lower)
    torch.testing.assert_close(lean.upper, upper)


def test_constants_of_each_example_reach_each_row() -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network(nn.ReLU())

        def forward(self, x: Tensor, scale: Tensor) -> Tensor:
            return self.inner(x * scale) * scale.sum(1, keepdim=True)

    model = Shifted().double()
    x, scale = (torch.randn(3, 4, dtype=torch.float64) for _ in range(2))
    bounded = BoundedModule(model, (x, scale))
    with torch.no_grad():
        point = BoundedTensor(x, PerturbationLpNorm(eps=0.2))
        found = bounded.compute_bounds(x=(point, scale), method="alpha-CROWN")
        for z in point.ptb.sample(x, 100):
            y = model(z, scale)
            assert bool((found.lower <= y + 1e-9).all() and (y <= found.upper + 1e-9).all())


def test_options_are_checked() -> None:
    x = torch.randn(2, 4, dtype=torch.float64)
    with pytest.raises(OptionError, match="Did you mean 'iteration'"):
        BoundedModule(nn.ReLU(), x, bound_opts={"optimize_bound_args": {"iterations": 3}})
    with pytest.raises(OptionError, match="iteration"):
        BoundedModule(nn.ReLU(), x, bound_opts={"optimize_bound_args": {"iteration": 0}})
