"""Splitting neurons never proves what is false, and proves what bounds alone do not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from lirpa_verify import output_in_box, robust, verify
from lirpa_verify.branching import FSB, BaBSR, Gain, NeuronBranching, Widest
from lirpa_verify.ladder import BoundStep
from lirpa_verify.search import NeuronSplitting
from lirpa_verify.search.subproblems import Subproblems
from torch import nn

from lirpa_core import PerturbationLpNorm

pytestmark = pytest.mark.slow


def network(seed: int, activation: type[nn.Module]) -> nn.Module:
    torch.manual_seed(seed)
    layers = [nn.Linear(3, 10), activation(), nn.Linear(10, 10), activation(), nn.Linear(10, 1)]
    return nn.Sequential(*layers).double().eval()


def least(model: nn.Module) -> float:
    """The smallest output over `[-1, 1]³`, from above."""
    axis = torch.linspace(-1, 1, 41, dtype=torch.float64)
    with torch.no_grad():
        return float(model(torch.cartesian_prod(axis, axis, axis)).min())


X, BALL = torch.zeros(1, 3, dtype=torch.float64), PerturbationLpNorm(eps=1.0)


@pytest.mark.in_turn(4)
@pytest.mark.parametrize("branching", [FSB(), BaBSR(), Gain(), Widest()])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid])
@pytest.mark.parametrize("seed", range(2))
def test_what_is_false_is_never_proved(
    seed: int, activation: type[nn.Module], branching: NeuronBranching
) -> None:
    model = network(seed, activation)
    false = output_in_box(lower=least(model) + 1e-9)
    ladder = (NeuronSplitting(branching, batch=16),)
    result = verify(model, X, BALL, false, ladder=ladder, timeout=0.5)
    assert result.status != "proved"
    # The margin of the grid's worst point is −1e-9; no lower bound may be above the true one.
    assert float(result.margins[0].max()) <= 0


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("activation", [nn.ReLU, nn.LeakyReLU, nn.Tanh])
def test_it_proves_more_than_bounds_alone(seed: int, activation: type[nn.Module]) -> None:
    model = network(seed, activation)
    bounds = (BoundStep("CROWN", "CROWN"), BoundStep("α-CROWN", "CROWN-Optimized", iterations=20))
    low = least(model)
    alone = verify(model, X, BALL, output_in_box(lower=low), ladder=bounds)
    gap = -float(alone.margins[0].max())
    assert gap >= 0
    claim = output_in_box(lower=low - 0.6 * gap)
    assert verify(model, X, BALL, claim, ladder=bounds).status == "unknown"
    found = verify(model, X, BALL, claim, ladder=(*bounds, NeuronSplitting()), timeout=30)
    assert found.status == "proved"


def test_other_sets_than_boxes_are_split_too() -> None:
    model, ball = network(0, nn.ReLU), PerturbationLpNorm(eps=1.0, norm=2)
    points = ball.sample(X, 20000)[:, 0]
    low = float(model(points).detach().min())
    bounds = (BoundStep("CROWN", "CROWN"),)
    gap = -float(verify(model, X, ball, output_in_box(lower=low), ladder=bounds).margins[0].max())
    claim = output_in_box(lower=low - 0.85 * gap)
    assert verify(model, X, ball, claim, ladder=(NeuronSplitting(),), timeout=30).status == "proved"


def test_a_network_without_neurons_is_left_alone() -> None:
    model = nn.Linear(3, 2).double().eval()
    assert verify(model, X, BALL, robust(0), ladder=(NeuronSplitting(),)).status == "unknown"


def test_halves_cover_their_parent() -> None:
    root = Subproblems.roots(torch.tensor([-1.0], dtype=torch.float64), torch.zeros(2))
    root = replace(root, split=torch.tensor([1]), point=torch.tensor([0.5], dtype=torch.float64))
    lower, upper = -torch.ones(1, 3, dtype=torch.float64), torch.ones(1, 3, dtype=torch.float64)
    children = root.halves()
    low, high = children.limits(lower, upper)
    assert low.tolist() == [[-1, 0.5, -1], [-1, -1, -1]]
    assert high.tolist() == [[1, 1, 1], [1, 0.5, 1]]
    points = torch.tensor([0.7, 0.0], dtype=torch.float64)
    grandchildren = replace(children, split=torch.tensor([1, 0]), point=points).halves()
    joined = Subproblems.join(root, grandchildren)
    low, high = joined.limits(lower, upper)
    assert low.tolist() == [[-1, -1, -1], [-1, 0.7, -1], [0, -1, -1], [-1, 0.5, -1], [-1, -1, -1]]
    assert high.tolist() == [[1, 1, 1], [1, 1, 1], [1, 0.5, 1], [1, 0.7, 1], [0, 0.5, 1]]
