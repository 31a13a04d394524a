"""Bounds that are not finite, not ordered or outside a domain do not leave the library."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm, functional
from lirpa_core.errors import DomainError, NonFiniteBoundError, SoundnessError
from lirpa_core.linear import Interval
from lirpa_core.methods import Problem
from lirpa_testing import method_names


class Logarithm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.log(x + 2)


def problem(eps: float = 0.5) -> Problem:
    x = torch.zeros(2, 3, dtype=torch.float64)
    return functional.bind(functional.capture(Logarithm(), x), BoundedTensor(x, PerturbationLpNorm(eps=eps)))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    good = torch.zeros(3, 2, dtype=torch.float64)
    functional.check_bounds(problem(), {}, good, good + 1)
    worse = good.clone()
    worse[1, 1] = bad
    for lower, upper in ((worse, None), (None, worse), (good, worse)):
        with pytest.raises(NonFiniteBoundError, match="infinite or NaN"):
            functional.check_bounds(problem(), {}, lower, upper)


def test_crossed_bounds_are_refused_and_name_the_first_node() -> None:
    p = problem()
    found = dict(functional.intervals(p))
    name = next(iter(p.calls))
    found[name] = Interval(found[name].upper, found[name].lower)
    one = torch.ones(3, 2, dtype=torch.float64)
    with pytest.raises(SoundnessError, match=f"first such node is '{name}'"):
        functional.check_bounds(p, found, one, 0 * one)
    functional.check_bounds(p, {}, one * (1 + 1e-14), one)  # rounding


def test_a_box_outside_of_a_domain_is_refused() -> None:
    good, bad = problem(), problem(eps=2.5)
    functional.check_domains(good, functional.intervals(good))
    outer = {n: Interval(x.lower, x.upper) for n, x in functional.intervals(good).items()}
    name = next(iter(bad.calls))
    outer[name] = Interval(outer[name].lower - 3, outer[name].upper)
    with pytest.raises(DomainError, match="leaves the domain"):
        functional.check_domains(bad, outer)


class Overflowing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.log((x * 1e30).square().sum(-1, keepdim=True) + 1)


@pytest.mark.parametrize("method", sorted(method_names()))
def test_a_domain_that_only_an_overflow_leaves_is_called_an_overflow(method: str) -> None:
    ball = BoundedTensor(torch.ones(1, 2), PerturbationLpNorm(eps=0.1))
    with pytest.raises(
        NonFiniteBoundError, match=r"operand of 'log'.*infinite or NaN.*first such node is 'square'"
    ):
        BoundedModule(Overflowing(), ball).compute_bounds(x=ball, method=method)
