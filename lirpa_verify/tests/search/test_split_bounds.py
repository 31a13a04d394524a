"""Bounds of subproblems hold whatever slopes and multipliers are, and empty subproblems are seen."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from lirpa_verify import output_in_box
from lirpa_verify.bounding import Bounder
from lirpa_verify.network import from_module
from lirpa_verify.properties import Inequality, Property, exact
from lirpa_verify.region import Region
from lirpa_verify.search.split_bounds import SplitBounds
from lirpa_verify.search.subproblems import Subproblems
from lirpa_verify.task import Task
from torch import Tensor, nn

from lirpa_core import PerturbationLpNorm

X, BALL = torch.zeros(1, 3, dtype=torch.float64), PerturbationLpNorm(eps=1.0)
SIZE = 8


def network(seed: int, activation: type[nn.Module]) -> nn.Sequential:
    torch.manual_seed(seed)
    layers = [nn.Linear(3, SIZE), activation(), nn.Linear(SIZE, SIZE), activation(), nn.Linear(SIZE, 2)]
    return nn.Sequential(*layers).double().eval()


def bounds_of(model: nn.Module, specification: Property) -> SplitBounds:
    task = Task.of(from_module(model, (X,)), Region.around((X,), BALL), specification)
    bounder = Bounder(task)
    found = SplitBounds.of(task, [0], bounder.model, bounder.quick, bounder.intermediate_bounds("CROWN"))
    assert found is not None
    return found


def below(constant: float) -> Property:
    """Both outputs at most a constant: a violation of two rows."""
    rows = [Inequality(((i, exact(-1)),), (), exact(constant)) for i in range(2)]
    return Property((tuple(rows),))


def split(bounds: SplitBounds, neurons: Tensor, signs: Tensor, points: Tensor) -> Subproblems:
    """Subproblems `[B]` whose neurons `[B, D]` are on the sides `signs` of points."""
    root = bounds.roots(torch.full((1,), -torch.inf, dtype=torch.float64))
    many = root[torch.zeros(len(neurons), dtype=torch.long)]
    lower = torch.where(signs > 0, points, -torch.inf)
    upper = torch.where(signs > 0, torch.inf, points)
    return replace(many, neuron=neurons, lower=lower, upper=upper, beta=torch.zeros_like(points))


def values(model: nn.Sequential, x: Tensor) -> tuple[Tensor, Tensor]:
    """Neurons in front of activations, `[P, 16]`, and outputs, `[P, 2]`."""
    with torch.no_grad():
        first = model[0](x)
        second = model[2](model[1](first))
        return torch.cat([first, second], 1), model[4](model[3](second))


@pytest.mark.parametrize("activation", [nn.ReLU, nn.LeakyReLU, nn.Sigmoid])
@pytest.mark.parametrize("seed", range(4))
def test_any_slopes_and_multipliers_give_a_bound(seed: int, activation: type[nn.Module]) -> None:
    model = network(seed, activation)
    bounds = bounds_of(model, below(0.0))
    x = torch.rand(200_000, 3, dtype=torch.float64) * 2 - 1
    z, y = values(model, x)
    depth, batch = 3, 12
    order = torch.stack([torch.randperm(2 * SIZE)[:depth] for _ in range(batch)])
    # Sides and points are those of random members, so that no subproblem is empty.
    middle = torch.zeros(batch, depth) if activation is not nn.Sigmoid else z[:batch].gather(1, order) - 0.1
    signs = (z[:batch].gather(1, order) - middle).sign()
    parts = split(bounds, order, signs, middle.double())
    wild = replace(
        parts,
        beta=torch.rand(batch, depth, dtype=torch.float64) * 10 ** torch.randn(batch, 1),
        slopes=torch.rand(batch, parts.slopes.shape[1]),
    )
    for given, iterations in ((wild, 0), (parts, 15)):
        found = bounds.bound(given, iterations, torch.full((batch,), torch.inf))
        assert found.index.tolist() == list(range(batch))
        for i in range(batch):
            inside = ((z[:, order[i]] - middle[i]) * signs[i] >= 0).all(1)
            least = float(y[inside].amax(1).min())  # the margin of the violation: its largest row
            assert float(found.lower[i]) <= least
            if iterations:
                assert float(found.lower[i]) > least - 5  # and it says something


def test_optimised_multipliers_are_better_than_none() -> None:
    gained = 0.0
    for seed in range(6):
        model = network(seed, nn.ReLU)
        bounds = bounds_of(model, below(0.0))
        z, _ = values(model, torch.rand(1, 3, dtype=torch.float64) * 2 - 1)
        order = torch.arange(2 * SIZE).unsqueeze(0)
        parts = split(bounds, order, z.sign(), torch.zeros_like(z))
        enough = torch.full((1,), torch.inf)
        with_beta = bounds.bound(parts, 60, enough).lower
        none = bounds.bound(parts, 0, enough).lower
        assert bool((with_beta >= none - 1e-9).all())
        gained += float(with_beta - none)
    assert gained > 0.1


def test_an_empty_subproblem_is_left_out() -> None:
    model = network(0, nn.ReLU)
    bounds = bounds_of(model, output_in_box(lower=0.0).property_for(2))
    high = float(bounds.neurons.upper[0, 0])
    neurons = torch.zeros(2, 1, dtype=torch.long)
    points = torch.tensor([[high + 1], [0.0]], dtype=torch.float64)
    found = bounds.bound(split(bounds, neurons, torch.ones(2, 1), points), 1, torch.full((2,), torch.inf))
    assert found.index.tolist() == [1]


def test_a_linear_program_settles_what_is_decided_and_what_is_empty() -> None:
    model = network(1, nn.ReLU)
    bounds = bounds_of(model, below(0.0))
    x = torch.rand(400_000, 3, dtype=torch.float64) * 2 - 1
    z, y = values(model, x)
    signs = z[:1].sign()
    every = torch.arange(2 * SIZE).unsqueeze(0)
    part = split(bounds, every, signs, torch.zeros_like(signs, dtype=torch.float64))
    settled = bounds.settled(part)
    assert settled is not None
    lower, point = settled
    inside = (z * signs >= 0).all(1)
    _, reached = values(model, point.unsqueeze(0))
    assert float(lower) == pytest.approx(float(reached.max()), abs=1e-6)
    assert float(lower) <= float(y[inside].amax(1).min()) + 1e-9
