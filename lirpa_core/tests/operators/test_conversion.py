"""Conversions, and constants that are made from a perturbed tensor without depending on it."""

import pytest
import torch
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import UnsupportedOperandError
from lirpa_core.linear.interval import Interval
from lirpa_core.operators import conversion
from lirpa_core.plugins import default_registry
from lirpa_core.rules.call import Call, Operand
from lirpa_testing import method_names

aten = torch.ops.aten


def test_a_conversion_changes_the_element_type_of_everything():
    call = Call.of(aten._to_copy.default, Operand((3,), torch.float64), dtype=torch.float32)
    rule = default_registry().rule_for(aten._to_copy.default)
    rule.check(call)
    box = rule.interval(call, (Interval(-torch.ones(2, 3).double(), torch.ones(2, 3).double()),))
    assert box.lower.dtype == box.upper.dtype == torch.float32
    term = rule.relax(call, (None,)).lower.terms[0]
    assert term.apply(torch.ones(2, 3).double()).dtype == torch.float32
    assert term.transpose(torch.ones(4, 2, 3)).dtype == torch.float64


def test_a_mask_has_floating_bounds():
    call = Call.of(aten._to_copy.default, Operand((3,), torch.bool), dtype=torch.float64)
    term = conversion.CONVERT.relax(call, (None,)).lower.terms[0]
    assert term.transpose(torch.ones(4, 2, 3).double()).dtype == torch.float64


def test_a_conversion_to_integers_is_refused():
    call = Call.of(aten._to_copy.default, Operand((3,)), dtype=torch.int64)
    with pytest.raises(UnsupportedOperandError, match="jumps"):
        conversion.CONVERT.check(call)


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2).double()

    def forward(self, x):
        wide = self.second(torch.relu(self.first(x)).double())
        return torch.relu(wide * (wide > 0)).float() if self.training else torch.relu(wide)


@pytest.mark.parametrize("method", method_names())
def test_a_model_in_two_element_types(method):
    torch.manual_seed(0)
    model, x = Mixed().eval(), torch.randn(2, 3)
    bounded = BoundedModule(model, x)
    box = BoundedTensor(x, PerturbationLpNorm(norm=float("inf"), eps=0.3))
    lower, upper = bounded.compute_bounds(x=(box,), method=method)
    assert lower.dtype == torch.float64
    for _ in range(50):
        y = model(x + 0.3 * (2 * torch.rand_like(x) - 1))
        assert (lower - 1e-5 <= y).all() and (y <= upper + 1e-5).all()


LIKE = {
    "zeros_like": (conversion._number_like(0), aten.zeros_like.default, (), {}),
    "ones_like": (conversion._number_like(1), aten.ones_like.default, (), {"dtype": torch.float32}),
    "full_like": (conversion.full_like, aten.full_like.default, (2.5,), {}),
    "new_zeros": (conversion._new_number(0), aten.new_zeros.default, ([3, 2],), {}),
    "new_ones": (conversion._new_number(1), aten.new_ones.default, ([3],), {"dtype": torch.int64}),
    "new_full": (conversion.new_full, aten.new_full.default, ([3], 7), {}),
}


@pytest.mark.parametrize("name", LIKE)
def test_constants_from_a_tensor(name):
    mine, theirs, args, kwargs = LIKE[name]
    x = torch.randn(2, 3, dtype=torch.float64)
    got, want = mine(x, *args, **kwargs), theirs(x, *args, **kwargs)
    assert torch.equal(got, want) and got.dtype == want.dtype


class Constants(nn.Module):
    def forward(self, x):
        ones = torch.ones_like(x) * torch.full_like(x, 2.0) + x.new_zeros(x.shape)
        index = torch.zeros_like(x, dtype=torch.int64)
        return x.gather(1, index) * ones + torch.where(torch.ones_like(x) > 0, x, -x)


def test_they_are_not_perturbed():
    x = torch.randn(2, 3)
    bounded = BoundedModule(Constants(), x, bound_opts={"rounding": "nearest"})
    box = BoundedTensor(x, PerturbationLpNorm(norm=float("inf"), eps=0.5))
    lower, upper = bounded.compute_bounds(x=(box,), method="IBP")
    exact = 2 * x[:, :1] + x
    torch.testing.assert_close(lower, exact - 1.5)
    torch.testing.assert_close(upper, exact + 1.5)
