"""Estimates grow with what they are estimates of."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from lirpa_core import BoundedTensor, PerturbationLpNorm, functional
from lirpa_core.methods import IBP, Problem, Relaxations, cost


def problem_of(model: nn.Module, x: torch.Tensor, eps: float = 0.1) -> tuple[Problem, str]:
    problem = functional.bind(
        functional.capture(model.eval(), x), BoundedTensor(x, PerturbationLpNorm(eps=eps))
    )
    return problem, functional.output_names(problem)[0]


def network(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(10, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3)
    )


@pytest.fixture(scope="module")
def sizes() -> list[tuple[Problem, str]]:
    torch.manual_seed(0)
    return [
        problem_of(network(width), torch.rand(batch, 10)) for width, batch in ((8, 1), (256, 1), (256, 64))
    ]


def test_more_of_anything_takes_longer(sizes: list[tuple[Problem, str]]) -> None:
    rows = [cost.rows_seconds(p, node, 3) for p, node in sizes]
    intervals = [cost.intervals_seconds(p) for p, _ in sizes]
    inner = [sum(cost.inner_seconds(p, None).values()) for p, _ in sizes]
    for found in (rows, intervals, inner):
        assert 0 < found[0] < found[1] < found[2]
    problem, node = sizes[1]
    assert cost.rows_seconds(problem, node, 30) > cost.rows_seconds(problem, node, 3)
    assert cost.search_seconds(problem, node, 3, 20) > 10 * cost.rows_seconds(problem, node, 3)
    assert cost.rows_seconds(problem, node, 30, memory_budget=1) > cost.rows_seconds(problem, node, 30)


def test_stable_neurons_take_no_rows() -> None:
    torch.manual_seed(0)
    model, x = network(64), torch.rand(1, 10)
    estimates = []
    for eps in (1e-6, 1.0):
        problem, _ = problem_of(model, x, eps)
        found = IBP().intermediate_bounds(problem).intervals
        estimates.append(sum(cost.inner_seconds(problem, found).values()))
    every = sum(cost.inner_seconds(problem, None).values())
    assert estimates[0] < 0.2 * estimates[1] <= every


def test_an_unknown_device_is_taken_for_a_processor() -> None:
    assert cost.rates_on(torch.device("meta")) == cost.rates_on(torch.device("cpu"))
    assert cost.rates_on(torch.device("cuda")).product < cost.rates_on(torch.device("cpu")).product


def test_rows_of_a_multilayer_perceptron_are_dense(setting: Any) -> None:
    inner = IBP().intermediate_bounds(setting.problem).intervals
    found = cost.density(setting.problem, setting.node, Relaxations(setting.problem, inner))
    assert 0.5 < found <= 1


def test_rows_over_an_image_are_not() -> None:
    pytest.importorskip("lirpa_ops_vision")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))
    problem, node = problem_of(model, torch.rand(1, 1, 24, 24))
    inner = IBP().intermediate_bounds(problem).intervals
    assert cost.density(problem, node, Relaxations(problem, inner)) < 0.2


def test_the_bytes_of_a_search_are_those_of_its_copies(sizes: list[tuple[Problem, str]]) -> None:
    assert cost.search_bytes(sizes[2][0]) == 64 * cost.search_bytes(sizes[1][0])


def test_densities_grow_with_the_distance_from_the_inputs() -> None:
    known = cost.Densities({"a": 1.0, "b": 10.0, "c": 100.0, "d": 1.0})
    assert (known.least, known.most, known.most_telling) == (0, 112, "c")
    assert known.learn("a", 0.01) and known.learn("c", 0.1) and not known.learn("c", 0.1)
    assert known.least == pytest.approx(0.01 + 0.1 + 10 + 0.1)
    assert known.most == pytest.approx(0.01 + 1 + 10 + 1)
    truth = {"a": 0.01, "b": 0.05, "c": 0.1, "d": 0.9}
    exact = 0.01 + 0.5 + 10 + 0.9
    for _ in range(4):
        assert known.least <= exact + 1e-12 and exact - 1e-12 <= known.most
        node = known.most_telling
        known.learn(node, truth[node])
