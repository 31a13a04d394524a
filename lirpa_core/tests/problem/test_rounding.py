"""What is charged for rounding: more than the error of computed coefficients, at one place, and without gradient."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.methods.traversal import intervals
from lirpa_core.problem.relaxations import Relaxations
from lirpa_core.problem.rounding import outward_interval
from lirpa_testing import method_names


def _ball(x: torch.Tensor, eps: float = 0.1) -> BoundedTensor:
    return BoundedTensor(x, PerturbationLpNorm(eps=eps))


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)).eval()


@pytest.mark.parametrize("method", sorted(method_names()))
def test_outward_bounds_contain_those_as_computed(method: str) -> None:
    model, x = _network(), torch.rand(3, 4)
    found = {
        rounding: BoundedModule(model, x, bound_opts={"rounding": rounding}).compute_bounds(
            x=_ball(x), method=method
        )
        for rounding in ("nearest", "outward")
    }
    (near_low, near_up), (low, up) = found["nearest"], found["outward"]
    assert (low < near_low).all() and (near_up < up).all()
    assert ((up - low) - (near_up - near_low) < 0.01 * (near_up - near_low)).all()


def test_intervals_are_wider_by_more_than_the_products_are_off() -> None:
    model, x = _network(), torch.rand(3, 4)
    bounded = BoundedModule(model, x)
    outward = bounded.problem(_ball(x))
    exact = BoundedModule(_network().double(), x.double(), bound_opts={"rounding": "nearest"}).problem(
        _ball(x.double())
    )
    name = next(iter(outward.calls))
    found = outward_interval(outward, name, (outward.hulls()[outward.calls[name].operands[0]],))
    true = next(iter(exact.calls))
    value = exact.rules[true].interval(exact.calls[true], (exact.hulls()[exact.calls[true].operands[0]],))
    assert (found.lower.double() < value.lower).all() and (value.upper < found.upper.double()).all()


def test_errors_of_layers_before_activations_are_charged_there() -> None:
    bounded, x = BoundedModule(_network(), torch.rand(3, 4)), torch.rand(3, 4)
    problem = bounded.problem(_ball(x))
    layers = [name for name in problem.calls if name in problem.facts.affine_operators]
    assert problem.facts.charged_by_users == set(layers[:-1])
    relaxations = Relaxations(problem, intervals(problem))
    assert all((relaxations[name].error > 0).all() for name in layers)
    relu = next(name for name in problem.calls if name not in layers)
    assert (relaxations[relu].lower.bias < 0).all()


def test_relaxations_keep_their_gradients() -> None:
    """The operand's relaxation is made on the way to a nonlinear one's; it must not be made without gradients."""
    model, x = _network(), torch.rand(3, 4)
    problem = BoundedModule(model, x).problem(_ball(x))
    relaxations = Relaxations(problem, intervals(problem))
    names = list(problem.calls)
    relaxations[names[1]]
    (term,) = relaxations[names[0]].lower.terms
    assert term is not None and term.apply(torch.rand(1, 4)).requires_grad
