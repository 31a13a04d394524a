"""Maxima and minima of two operands and along dimensions."""

import pytest
import torch

from lirpa_core.linear.interval import Interval
from lirpa_core.operators import extremum
from lirpa_core.plugins import default_registry
from lirpa_core.rules.call import Call, Operand
from lirpa_testing.core_cases.extremum import ALONG, PAIRS, along

aten = torch.ops.aten


def X(*sizes: int) -> Operand:
    return Operand(sizes)


def C(*sizes: int) -> torch.Tensor:
    return torch.randn(sizes, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize(
    "op", [aten.maximum.default, aten.minimum.default, aten.fmax.default, aten.fmin.default]
)
@pytest.mark.parametrize("name", PAIRS)
def test_of_two(op, name, oracle):
    call = Call.of(op, *PAIRS[name], batch=3)
    rule = default_registry().rule_for(op)
    for width in (0.3, 3.0):
        inputs = oracle.boxes(call, width=width)
        oracle.assert_sound(rule, call, inputs)
        oracle.assert_tight(rule, call, inputs)


def test_an_infinite_constant_leaves_the_operand():
    for op, bound in ((aten.maximum.default, -torch.inf), (aten.minimum.default, torch.inf)):
        call = Call.of(op, X(2), torch.tensor(bound).double())
        x = Interval(-torch.ones(1, 2).double(), torch.ones(1, 2).double())
        relaxation = default_registry().rule_for(op).relax(call, (x,))
        for side in (relaxation.lower, relaxation.upper):
            assert (side.terms[0].slope == 1).all() and (side.bias == 0).all()


@pytest.mark.parametrize("which", ["max", "min"])
@pytest.mark.parametrize("name", ALONG)
def test_along_dimensions(which, name, oracle):
    call = along(which, name)
    rule = default_registry().rule_for(call.node.target)
    rule.check(call)
    for width in (0.0, 0.3, 3.0):
        inputs = oracle.boxes(call, width=width)
        oracle.assert_sound(rule, call, inputs)
        oracle.assert_tight(rule, call, inputs)


def test_a_dominating_element_is_the_maximum(oracle):
    call = along("max", "dim")
    lower = torch.tensor([[[0.0, 5, 1, 2], [0, 0, 0, 9]]]).double()
    x = Interval(lower, lower + 1)
    rule = default_registry().rule_for(call.node.target)
    relaxation = rule.relax(call, (x,))
    one_hot = torch.tensor([[[0.0, 1, 0, 0], [0, 0, 0, 1]]]).double()
    for side in (relaxation.lower, relaxation.upper):
        oracle.close(side.terms[0].weight, one_hot)
    oracle.close(relaxation.upper.bias, torch.zeros(1, 2).double())
    assert not rule.unstable_inputs(call, (x,))[0].any()


@pytest.mark.parametrize("n", [2, 40])
def test_at_the_centre_it_is_below_the_constant_and_the_sum_of_chords(n):
    call = Call.of(aten.amax.default, X(n), [0])
    lower = torch.linspace(-1e-3, 0, n, dtype=torch.float64)[None]
    x = Interval(lower, lower + 1)
    upper = default_registry().rule_for(aten.amax.default).relax(call, (x,)).upper
    found = (upper.terms[0].weight * x.midpoint).sum() + upper.bias
    chords = ((x.upper - lower.max()) / 2).sum() + lower.max()
    assert found <= min(x.upper.max(), chords) + 1e-12


def test_positions():
    call = Call.of(aten.max.dim, X(2, 3), 1, output=1)
    lower = torch.tensor([[[0.0, 2.0, 1.0], [0.0, 2.0, 9.0]]]).double()
    found = default_registry().rule_for(aten.max.dim).interval(call, (Interval(lower, lower + 1.5),))
    assert found.lower.tolist() == [[1, 2]] and found.upper.tolist() == [[2, 2]]


def test_weighted_sum_is_a_matrix(oracle):
    weight = C(3, 2, 4)
    op = extremum.WeightedSum(weight, (1,), (2,))
    J = torch.zeros(3, 2, 2, 4).double()
    J[:, 0, 0], J[:, 1, 1] = weight[:, 0], weight[:, 1]
    oracle.assert_transposes(op, J.reshape(3, 2, 8), (2,))
