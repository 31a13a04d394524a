"""Logsumexp along dimensions, and of two operands."""

import pytest
import torch

from lirpa_core.linear.interval import Interval
from lirpa_core.operators.logsumexp import logaddexp
from lirpa_core.plugins import default_registry
from lirpa_core.rules.call import Call, Operand
from lirpa_testing.core_cases.extremum import LSE

aten = torch.ops.aten


def X(*sizes: int) -> Operand:
    return Operand(sizes)


def C(*sizes: int) -> torch.Tensor:
    return torch.randn(sizes, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("name", LSE)
def test_logsumexp(name, oracle):
    call = Call.of(aten.logsumexp.default, *LSE[name])
    rule = default_registry().rule_for(aten.logsumexp.default)
    for width in (0.0, 0.3, 6.0):
        inputs = oracle.boxes(call, width=width)
        oracle.assert_sound(rule, call, inputs)
        oracle.assert_tight(rule, call, inputs)


def test_logsumexp_of_huge_and_far_apart_numbers(oracle):
    call = Call.of(aten.logsumexp.default, X(3), [0])
    rule = default_registry().rule_for(aten.logsumexp.default)
    lower = torch.tensor([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [900.0, 900.0, 0.0]]).double()
    width = torch.tensor([[0.0, 1, 5e3], [1e-9, 2e4, 0], [1e-12, 2.0, 1e3]]).double()
    x = Interval(lower, lower + width)
    relaxation = rule.relax(call, (x,))
    for side in (relaxation.lower, relaxation.upper):
        assert side.terms[0].weight.isfinite().all() and side.bias.isfinite().all()
    oracle.assert_sound(rule, call, (x,), tolerance=1e-10)


def test_slopes_of_logsumexp_sum_to_one_however_large_the_numbers(oracle):
    call = Call.of(aten.logsumexp.default, X(4), [0])
    lower = C(8, 4).sort(0).values + 1e6
    x = Interval(lower, lower + 1)
    lower_line = default_registry().rule_for(aten.logsumexp.default).relax(call, (x,)).lower
    assert ((lower_line.terms[0].weight.sum(-1) - 1).abs() <= 8 * torch.finfo(torch.float64).eps).all()


def test_logsumexp_of_a_point_is_its_tangent(oracle):
    call = Call.of(aten.logsumexp.default, X(4), [0])
    x = C(3, 4)
    relaxation = default_registry().rule_for(aten.logsumexp.default).relax(call, (Interval(x, x),))
    for side in (relaxation.lower, relaxation.upper):
        oracle.close(side.terms[0].weight, x.softmax(-1))
        oracle.close(oracle.line(side, [x], call), x.logsumexp(-1))


def test_logaddexp(oracle):
    x, y = C(2, 3), C(3)
    oracle.close(logaddexp(x, y), torch.logaddexp(x, y))
