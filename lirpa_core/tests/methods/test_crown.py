"""CROWN: no looser than IBP, exact on affine models, and its lines can be replaced."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lirpa_core import BoundedTensor, PerturbationLpNorm, functional
from lirpa_core.linear import Interval, Relaxation
from lirpa_core.methods import CROWN, IBP, Problem, by_rule


def bounds(problem: Problem, method: Any, node: str) -> Any:
    return method.bound_rows(problem, node, method.intermediate_bounds(problem, wanted=(node,)))


def test_no_looser_than_intervals(setting: Any) -> None:
    crown, ibp = (bounds(setting.problem, m, setting.node) for m in (CROWN(), IBP()))
    assert bool((crown.lower >= ibp.lower - 1e-9).all()) and bool((crown.upper <= ibp.upper + 1e-9).all())
    assert bool((ibp.upper - ibp.lower).sum() > 1.1 * (crown.upper - crown.lower).sum())


def test_exact_on_an_affine_model() -> None:
    model, x = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).double().eval(), torch.randn(2, 3).double()
    problem = functional.bind(
        functional.capture(model, x), BoundedTensor(x, PerturbationLpNorm(norm=2, eps=0.5))
    )
    (node,) = functional.output_names(problem)
    found = bounds(problem, CROWN(), node)
    weight = model[1].weight @ model[0].weight
    with torch.no_grad():
        radius = 0.5 * weight.norm(dim=1)
        torch.testing.assert_close(found.lower, (model(x) - radius).T)
        torch.testing.assert_close(found.upper, (model(x) + radius).T)


def test_every_nonlinear_node_is_relaxed_by_the_given_function(setting: Any) -> None:
    asked: list[str] = []

    def relax(problem: Problem, name: str, inputs: tuple[Interval | None, ...]) -> Relaxation:
        asked.append(name)
        return by_rule(problem, name, inputs)

    found, plain = (bounds(setting.problem, m, setting.node) for m in (CROWN(relax=relax), CROWN()))
    assert torch.equal(found.lower, plain.lower)
    assert {name.rstrip("_0123456789") for name in asked} >= {"relu", "tanh", "mul"}


def test_given_intervals_make_bounds_tighter(setting: Any) -> None:
    problem, node = setting.problem, setting.node
    method = CROWN()
    plain = method.intermediate_bounds(problem, wanted=(node,))
    inner = next(name for name in problem.calls if name.startswith("linear"))
    point = plain.intervals[inner].midpoint
    given = {inner: Interval(point, point)}
    tight = method.intermediate_bounds(problem, (node,), given)
    assert bool((tight.intervals[node].width <= plain.intervals[node].width + 1e-9).all())
