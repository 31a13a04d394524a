"""Splitting neurons never proves what is false, and proves what bounds alone do not."""

from __future__ import annotations

import itertools

import pytest
import torch
from lirpa_verify import output_in_box, robust, verify
from lirpa_verify.branching import Gain, NeuronBranching, OpenNeurons, Widest
from lirpa_verify.ladder import BoundStep
from lirpa_verify.search import NeuronSplitting
from lirpa_verify.search.subproblems import Subproblems
from torch import nn

from lirpa_core import PerturbationLpNorm


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


@pytest.mark.parametrize("branching", [Gain(), Widest()])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_false_is_never_proved(
    seed: int, activation: type[nn.Module], branching: NeuronBranching
) -> None:
    model = network(seed, activation)
    false = output_in_box(lower=least(model) + 1e-9)
    ladder = (NeuronSplitting(branching, batch=16),)
    result = verify(model, X, BALL, false, ladder=ladder, timeout=1.0)
    assert result.status != "proved"
    # The margin of the grid's worst point is −1e-9; no lower bound may be above the true one.
    assert float(result.margins[0].max()) <= 0


@pytest.mark.parametrize(
    ("seed", "activation"), list(itertools.product(range(4), [nn.ReLU, nn.LeakyReLU, nn.Tanh]))
)
def test_it_proves_more_than_bounds_alone(seed: int, activation: type[nn.Module]) -> None:
    model = network(seed, activation)
    bounds = (BoundStep("CROWN", "CROWN"), BoundStep("α-CROWN", "CROWN-Optimized", iterations=20))
    low = least(model)
    alone = verify(model, X, BALL, output_in_box(lower=low), ladder=bounds)
    gap = -float(alone.margins[0].max())
    assert gap >= 0
    claim = output_in_box(lower=low - 0.85 * gap)
    assert verify(model, X, BALL, claim, ladder=bounds).status == "unknown"
    found = verify(model, X, BALL, claim, ladder=(*bounds, NeuronSplitting()), timeout=30)
    # Without multipliers for the splits, a subproblem whose neurons are all split can stay open.
    assert found.status == "proved" or float(found.margins[0].max()) > -0.15 * gap * 0.9


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


def test_gain_prefers_what_helps_both_halves() -> None:
    def row(*values: float) -> torch.Tensor:
        return torch.tensor([values], dtype=torch.float64)

    neurons = OpenNeurons(
        lower=row(-1, -1, -1, 1),
        upper=row(1, 1, 1, 2),
        points=row(0, 0, 0, torch.nan),
        lower_slopes=row(9, 2, 0, 99),
        upper_slopes=row(0, -2, 0, -99),
    )
    assert Gain().choose(neurons).tolist() == [1]
    assert Widest().choose(neurons).tolist()[0] in {0, 1, 2}


def test_halves_cover_their_parent() -> None:
    root = Subproblems.roots(torch.tensor([-1.0], dtype=torch.float64))
    root = Subproblems(*[getattr(root, n) for n in ("violation", "neuron", "lower", "upper", "worst")],
                       torch.tensor([1]), torch.tensor([0.5], dtype=torch.float64))  # fmt: skip
    lower, upper = -torch.ones(1, 3, dtype=torch.float64), torch.ones(1, 3, dtype=torch.float64)
    children = root.halves()
    low, high = children.limits(lower, upper)
    assert low.tolist() == [[-1, 0.5, -1], [-1, -1, -1]]
    assert high.tolist() == [[1, 1, 1], [1, 0.5, 1]]
    grandchildren = Subproblems(*[getattr(children, n) for n in ("violation", "neuron", "lower", "upper", "worst")],
                                torch.tensor([1, 0]), torch.tensor([0.7, 0.0], dtype=torch.float64)).halves()  # fmt: skip
    joined = Subproblems.join(root, grandchildren)
    low, high = joined.limits(lower, upper)
    assert low.tolist() == [[-1, -1, -1], [-1, 0.7, -1], [0, -1, -1], [-1, 0.5, -1], [-1, -1, -1]]
    assert high.tolist() == [[1, 1, 1], [1, 1, 1], [1, 0.5, 1], [1, 0.7, 1], [0, 0.5, 1]]
