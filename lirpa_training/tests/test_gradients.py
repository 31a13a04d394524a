"""Gradients of bounds, through every method, against finite differences in float64."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_testing import method_names


def network(activation: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(3, 5), activation, nn.Linear(5, 4), nn.BatchNorm1d(4), activation, nn.Linear(4, 2)
    ).double()
    for parameter in model.parameters():
        parameter.data *= 1.7
    return model


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.Tanh(), nn.GELU(), nn.Softplus()], ids=str)
def test_gradients_are_those_of_finite_differences(activation: nn.Module, methods: tuple[str, ...]) -> None:
    model = network(activation)
    x = torch.rand(4, 3).double()
    bounded = BoundedModule(model, x)
    weights = list(model.parameters())
    for eps in (0.02, 0.15, 1.0):
        ball = PerturbationLpNorm(eps=eps)
        for method in (m for m in methods if m in method_names(optimized=False)):
            value = partial(_value, bounded, x, ball, method)
            gradient = torch.autograd.grad(value(), weights)
            step = [torch.randn_like(w) for w in weights]
            expected = sum((g * s).sum() for g, s in zip(gradient, step, strict=True))
            found = _difference(value, weights, step)
            assert found.item() == pytest.approx(expected.item(), rel=1e-5, abs=1e-6), (method, eps)


@pytest.mark.parametrize("method", method_names())
@pytest.mark.parametrize("activation", [nn.ReLU(), nn.Tanh(), nn.GELU()], ids=str)
def test_gradients_of_the_last_layer_are_those_of_a_homogeneous_function(
    activation: nn.Module, method: str
) -> None:
    """Twice the last layer, twice the bound, at whatever slopes: the gradient times the layer is the bound (Euler)."""
    model = network(activation).eval()
    x = torch.rand(4, 3).double()
    bounded = BoundedModule(model, x)
    last = list(model[-1].parameters())
    bounds = bounded.compute_bounds(x=(BoundedTensor(x, PerturbationLpNorm(eps=0.15)),), method=method)
    for bound in bounds:
        gradient = torch.autograd.grad(bound.sum(), last, retain_graph=True)
        found = sum((g * p).sum() for g, p in zip(gradient, last, strict=True))
        torch.testing.assert_close(found, bound.sum())
        torch.testing.assert_close(gradient[1], torch.full((2,), 4.0).double())  # a shift moves every example


def _value(bounded: BoundedModule, x: Tensor, ball: PerturbationLpNorm, method: str) -> Tensor:
    _, state = bounded.clean_pass(x, update=False)  # whose statistics move with the weights
    lower, upper = bounded.compute_bounds(x=(BoundedTensor(x, ball),), method=method, batch_state=state)
    coefficients = torch.tensor([1.0, 2.0]).double()
    return (upper * coefficients - lower * coefficients.flip(0)).sum()


def _difference(value: object, weights: list[nn.Parameter], step: list[Tensor], h: float = 1e-6) -> Tensor:
    assert callable(value)
    ends = []
    with torch.no_grad():
        for move in (h, -2 * h, h):
            for w, s in zip(weights, step, strict=True):
                w += move * s
            ends.append(value())
    return (ends[0] - ends[1]) / (2 * h)
