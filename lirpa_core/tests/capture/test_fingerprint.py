"""What makes a captured graph stale: exchanged modules, changed modes, tied tensors; not new values."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.capture.fingerprint import structure_of


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2)).eval()


def exchange(model: nn.Sequential) -> None:
    model[1] = nn.ReLU()


def tie(model: nn.Sequential) -> None:
    model[2].weight = model[0].weight


def train(model: nn.Sequential) -> None:
    model[1].train()


@pytest.mark.parametrize("change", [exchange, tie, train])
def test_changes_that_count(change: Callable[[nn.Sequential], None]) -> None:
    model = network()
    before = structure_of(model)
    assert structure_of(model) == before
    change(model)
    assert structure_of(model) != before


def test_new_values_do_not() -> None:
    model = network()
    before = structure_of(model)
    with torch.no_grad():
        model[0].weight.mul_(2)
    model[2].bias.data = torch.ones(2)
    assert structure_of(model) == before


@pytest.mark.parametrize("change", [exchange, tie])
def test_bounds_are_those_of_the_model_as_it_is_now(change: Callable[[nn.Sequential], None]) -> None:
    torch.manual_seed(0)
    model, x = network(), torch.randn(3, 2)
    point = BoundedTensor(x, PerturbationLpNorm(eps=0.3))
    bounded = BoundedModule(model, x)
    bounded.compute_bounds(x=point)
    change(model)
    for found, fresh in zip(
        bounded.compute_bounds(x=point), BoundedModule(model, x).compute_bounds(x=point), strict=True
    ):
        torch.testing.assert_close(found, fresh)
