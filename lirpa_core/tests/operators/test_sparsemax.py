"""The projection onto probabilities, against its definition and against samples."""

import itertools

import pytest
import torch

from lirpa_core.linear.interval import Interval
from lirpa_core.plugins import default_registry
from lirpa_core.rules import Call, Operand


def _op():
    default_registry()
    return torch.ops.lirpa.sparsemax.default


def _rule():
    return default_registry().rule_for(_op())


def _projected(x, steps=200):
    """By bisection for the threshold."""
    low, up = x.amax(-1, keepdim=True) - 1, x.amax(-1, keepdim=True)
    for _ in range(steps):
        middle = (low + up) / 2
        over = torch.relu(x - middle).sum(-1, keepdim=True) > 1
        low, up = torch.where(over, middle, low), torch.where(over, up, middle)
    return torch.relu(x - low)


def test_it_is_the_projection(oracle):
    for scale in (0.1, 1.0, 30.0):
        x = scale * oracle.rand(50, 6)
        oracle.close(_op()(x, -1), _projected(x))


@pytest.mark.parametrize("scale", [0.0, 0.1, 1.0, 10.0])
def test_range_and_planes(scale, oracle):
    call, rule = Call.of(_op(), Operand((4,)), 0), _rule()
    lower = oracle.rand(30, 4) - scale * oracle.rand(30, 4, seed=1).abs()
    upper = lower + 2 * scale * oracle.rand(30, 4, seed=2).abs()
    x = Interval(lower, upper)
    corners = torch.tensor(list(itertools.product((0.0, 0.5, 1.0), repeat=4))).double().unsqueeze(1)
    at = lower + corners * (upper - lower)
    values = _op()(at, -1)
    found = rule.interval(call, (x,))
    assert (found.lower <= values.amin(0) + 1e-12).all() and (found.upper >= values.amax(0) - 1e-12).all()
    oracle.close(found.lower, values.amin(0))
    oracle.close(found.upper, values.amax(0))
    slopes = rule.slopes(call, (x,))
    half = [torch.full_like(s.start, 0.5) for s in slopes]
    for relaxation in (rule.relax(call, (x,)), rule.relax_with(call, (x,), half)):
        below, above = (
            side.terms[0].apply(at, 2) + side.bias for side in (relaxation.lower, relaxation.upper)
        )
        assert (below <= values + 1e-12).all() and (above >= values - 1e-12).all()


def test_where_the_support_is_known_it_is_affine(oracle):
    call, rule = Call.of(_op(), Operand((3,)), 0), _rule()
    lower = torch.tensor([[0.5, 0.6, -3.0]]).double()
    relaxation = rule.relax(call, (Interval(lower, lower + 0.1),))
    matrix = torch.tensor([[0.5, -0.5, 0.0], [-0.5, 0.5, 0.0], [0, 0, 0]]).double()
    for side in (relaxation.lower, relaxation.upper):
        oracle.close(side.terms[0].weight[0], matrix)
        oracle.close(side.bias[0], torch.tensor([0.5, 0.5, 0.0]).double())


def test_far_from_zero_nothing_is_lost(oracle):
    call, rule = Call.of(_op(), Operand((3,)), 0), _rule()
    lower = torch.tensor([[0.5, 0.625, -3.0]]).double()
    near, far = (rule.interval(call, (Interval(lower + s, lower + s + 0.125),)) for s in (0.0, 2.0**30))
    oracle.close(near.lower, far.lower)
    oracle.close(near.upper, far.upper)
