"""Relaxations are made once, on the intervals that rules read, and made again where these became tighter."""

from __future__ import annotations

import torch
from torch import nn

from lirpa_core import BoundedTensor, PerturbationLpNorm, functional
from lirpa_core.linear import Interval, Relaxation
from lirpa_core.methods import Problem, by_rule
from lirpa_core.problem.relaxations import Relaxations


def test_once_until_forgotten() -> None:
    model, x = nn.Sequential(nn.Linear(2, 3), nn.ReLU()).double().eval(), torch.zeros(1, 2).double()
    problem = functional.bind(functional.capture(model, x), BoundedTensor(x, PerturbationLpNorm(eps=1.0)))
    linear, relu = problem.calls
    asked: list[tuple[str, tuple[Interval | None, ...]]] = []

    def relax(problem: Problem, name: str, inputs: tuple[Interval | None, ...]) -> Relaxation:
        asked.append((name, inputs))
        return by_rule(problem, name, inputs)

    intervals = functional.intervals(problem)
    table = Relaxations(problem, intervals, relax)
    first = table[relu]
    assert table[relu] is first and not first.exact
    assert table[linear].exact
    assert [name for name, _ in asked] == [relu, linear]
    assert asked[0][1] == (intervals[linear],) and asked[1][1] == (None,)  # a linear layer reads no interval
    assert table.apart()[relu] is not first and table[relu] is first
    one = torch.ones_like(intervals[linear].lower)
    intervals[linear] = Interval(one, 2 * one)
    assert table[relu] is first
    table.forget([relu])
    (term,) = table[relu].lower.terms
    assert table[relu] is not first and bool((term.slope == 1).all())  # type: ignore[union-attr]
