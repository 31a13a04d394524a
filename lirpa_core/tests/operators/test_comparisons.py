"""Comparisons of two perturbed operands."""

import pytest
import torch

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.linear.interval import Interval
from lirpa_core.plugins import default_registry
from lirpa_core.rules.call import Call, Operand

aten = torch.ops.aten
NAMES = ("gt", "ge", "lt", "le", "eq", "ne")


def box(low, up):
    return Interval(torch.tensor([[low]]).double(), torch.tensor([[up]]).double())


def rule_and_call(name):
    op = getattr(aten, name).Tensor
    return default_registry().rule_for(op), Call.of(op, Operand((1,)), Operand((1,)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("x", "y"), [((1, 2), (3, 4)), ((3, 4), (1, 2)), ((1, 2), (2, 3)), ((2, 3), (1, 2)),
                                      ((0, 4), (1, 2)), ((1, 1), (1, 1)), ((1, 1), (0, 1)), ((0, 1), (1, 1))])  # fmt: skip
def test_the_interval_is_what_a_grid_of_points_takes(name, x, y):
    rule, call = rule_and_call(name)
    found = rule.interval(call, (box(*x), box(*y)))
    grid = [torch.linspace(*ends, 9).double() for ends in (x, y)]
    values = getattr(torch, name)(grid[0][:, None], grid[1]).double()
    assert found.lower.item() == values.min() and found.upper.item() == values.max()


@pytest.mark.parametrize("name", NAMES)
def test_sound_on_random_boxes(name, oracle):
    call = Call.of(getattr(aten, name).Tensor, Operand((2, 3)), Operand((3,)))
    rule = default_registry().rule_for(call.node.target)
    for width in (0.0, 0.3, 3.0):
        oracle.assert_sound(rule, call, oracle.boxes(call, width=width))


def test_lines_follow_the_difference_where_that_loses_less():
    rule, call = rule_and_call("gt")
    found = rule.relax(call, (box(0, 4), box(3, 3)))  # the difference is in [-3, 1]
    assert found.upper.terms[0].slope.item() == pytest.approx(1 / 3)
    assert found.upper.terms[1].slope.item() == pytest.approx(-1 / 3)
    assert (found.lower.terms[0].slope == 0).all() and found.lower.bias.item() == 0


@pytest.mark.parametrize(
    ("function", "value"),
    [(lambda x: x != x, 0.0), (lambda x: x == x, 1.0), (lambda x: x > x, 0.0), (lambda x: x <= x, 1.0)],
)
def test_a_number_equals_itself(function, value):
    class Model(torch.nn.Module):
        def forward(self, x):
            return function(x).to(x.dtype)

    x = torch.randn(2, 3)
    for method in ("IBP", "CROWN"):
        lower, upper = BoundedModule(Model(), x).compute_bounds(
            x=BoundedTensor(x, PerturbationLpNorm(eps=1.0)), method=method
        )
        for end in (lower, upper):
            torch.testing.assert_close(end, torch.full_like(x, value))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", NAMES)
def test_a_decided_comparison_decides_a_choice(name, dtype):
    """Had its zero a rounding error, the choice between 2 and −9 would be open."""
    x = torch.tensor([[0.3, -0.5, 0.7, 0.1]], dtype=dtype)

    def model(x):
        return torch.where(getattr(torch, name)(x[:, :2], x[:, 2:]), 2 + x[:, :2], x[:, 2:] - 9)

    bounded = BoundedModule(model, x)
    for method in ("IBP", "CROWN", "forward"):
        lower, upper = bounded.compute_bounds(
            x=(BoundedTensor(x, PerturbationLpNorm(eps=1e-3)),), method=method
        )
        torch.testing.assert_close((lower + upper) / 2, model(x))
        assert (upper - lower).max() < 3e-3
