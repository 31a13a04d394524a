"""Which calls of a problem are marked as those that may meet infinities."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.plugins import default_registry
from lirpa_core.rules.call import Call, Operand
from lirpa_core.rules.infinity import added_constants, with_infinities

aten = torch.ops.aten
MASK = torch.tensor([0.0, -math.inf], dtype=torch.float64)


def marked(*calls: Call) -> list[bool]:
    """The calls as a chain: each has the one before as its operand."""
    named = {f"n{i}": dataclasses.replace(call, operands=(f"n{i - 1}",)) for i, call in enumerate(calls)}
    rules = {name: default_registry().rule_for(call.node.target) for name, call in named.items()}
    return [call.infinite for call in with_infinities(named, added_constants(named, rules)).values()]


def test_nothing_is_marked_without_an_infinite_constant():
    add = Call.of(aten.add.Tensor, Operand((2,)), torch.ones(2, dtype=torch.float64))
    assert marked(add, Call.of(aten.relu.default, Operand((2,)))) == [False, False]


def test_what_holds_an_infinity_and_what_is_behind_it_is_marked():
    relu = Call.of(aten.relu.default, Operand((2,)))
    assert marked(relu, Call.of(aten.add.Tensor, Operand((2,)), MASK), relu) == [False, True, True]
    assert marked(Call.of(aten.cat.default, [Operand((2,)), MASK]), relu) == [True, True]
    assert marked(Call.of(aten.add.Scalar, Operand((2,)), -math.inf), relu) == [True, True]
    linear = Call.of(aten.linear.default, Operand((1, 2)), torch.ones(2, 2, dtype=torch.float64), MASK)
    assert marked(linear) == [True]


def test_a_sum_that_overflows_is_not_an_infinity():
    large = torch.full((2,), 1e308, dtype=torch.float64)
    assert marked(Call.of(aten.add.Tensor, Operand((2,)), large)) == [False]


@pytest.mark.parametrize("method", ["IBP", "forward", "CROWN"])
def test_masks_given_as_inputs_count(method):
    class Scores(nn.Module):
        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            return torch.exp(x + mask)

    x, mask = torch.rand(2, 2, dtype=torch.float64), MASK.expand(2, 2)
    given = (BoundedTensor(x, PerturbationLpNorm(eps=0.1)), mask)
    lower, upper = BoundedModule(Scores(), (x, mask), bound_opts={"rounding": "nearest"}).compute_bounds(
        given, method=method
    )
    assert (lower[:, 1] == 0).all() and (upper[:, 1] == 0).all() and (upper[:, 0] < 4).all()
