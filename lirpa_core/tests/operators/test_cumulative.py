"""Cumulative maxima, minima, logsumexps and products."""

import pytest
import torch
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import UnsupportedOperandError
from lirpa_core.linear.interval import Interval
from lirpa_core.operators import cumulative
from lirpa_core.plugins import default_registry
from lirpa_core.rules.call import Call, Operand
from lirpa_testing import few_steps, method_names
from lirpa_testing.core_cases.cumulative import ARGS, OPS, accumulated

aten = torch.ops.aten


def T(*sizes: int) -> torch.Tensor:
    return torch.randn(sizes, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("name", ARGS)
def test_sound_and_tight(op, name, oracle):
    call = accumulated(op, name)
    rule = default_registry().rule_for(call.node.target)
    rule.check(call)
    for width in (0.0, 0.3, 3.0):
        inputs = oracle.boxes(call, width=width)
        oracle.assert_sound(rule, call, inputs)
        oracle.assert_tight(rule, call, inputs)


@pytest.mark.parametrize(
    ("op", "whole"),
    [("cummax", aten.amax.default), ("cummin", aten.amin.default), ("logcumsumexp", aten.logsumexp.default)],
)
def test_the_last_element_has_the_planes_of_the_whole(op, whole, oracle):
    """An independent way to the same planes: the reduction of everything."""
    call = Call.of(OPS[op][0], Operand((5,)), 0, output=OPS[op][1])
    (x,) = oracle.boxes(call, width=1.0)
    ours = default_registry().rule_for(call.node.target).relax(call, (x,))
    theirs = default_registry().rule_for(whole).relax(Call.of(whole, Operand((5,)), [0]), (x,))
    for mine, other in ((ours.lower, theirs.lower), (ours.upper, theirs.upper)):
        for point in (x.lower, x.midpoint, x.upper):
            at = [
                side.terms[0].apply(point) + (0 if side.bias is None else side.bias) for side in (mine, other)
            ]
            oracle.close(at[0][:, -1], at[1])


def test_one_that_is_ahead_of_all_others_is_the_maximum_from_there_on():
    call = Call.of(aten.cummax.default, Operand((3,)), 0, output=0)
    box = Interval(torch.tensor([[0.0, 5, 1]]).double(), torch.tensor([[1.0, 6, 2]]).double())
    rule = default_registry().rule_for(aten.cummax.default)
    relaxation = rule.relax(call, (box,))
    for side in (relaxation.lower, relaxation.upper):
        want = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 1, 0]]).double()
        assert (side.terms[0].weight[0] == want).all()
    assert rule.unstable_inputs(call, (box,))[0].tolist() == [[True, True, False]]


def test_positions_cannot_be_bounded():
    call = Call.of(aten.cummax.default, Operand((3,)), 0, output=1)
    with pytest.raises(UnsupportedOperandError, match="only its value"):
        default_registry().rule_for(aten.cummax.default).check(call)


@pytest.mark.parametrize(
    ("shape", "dim"), [((5,), 0), ((2, 7), -1), ((4, 3), 0), ((1,), 0), ((0,), 0), ((), 0)]
)
def test_products_have_the_values_of_pytorch(shape, dim, oracle):
    x = T(*shape)
    oracle.close(cumulative.cumulative_product(x, dim), x.cumprod(dim))
    assert cumulative.cumulative_product(x.float(), dim, dtype=torch.float64).dtype == torch.float64


class Accumulated(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.cumprod(-1),
        lambda x: torch.cummax(x, -1).values * torch.cummin(x, 1)[0],
        lambda x: torch.logcumsumexp(x, -1),
    ],
    ids=["product", "maximum and minimum", "logsumexp"],
)
def test_models(function):
    x = T(2, 4)
    model = Accumulated(function)
    bounded = BoundedModule(model, x, bound_opts=few_steps())
    points = x + 0.3 * (2 * torch.rand(300, 2, 4, generator=torch.Generator().manual_seed(2)).double() - 1)
    points[150:] = x + 0.3 * (points[150:] - x).sign()
    values = torch.stack([model(p) for p in points])
    for method in method_names():
        leaf = x.clone().requires_grad_()
        lb, ub = bounded.compute_bounds(x=(BoundedTensor(leaf, PerturbationLpNorm(eps=0.3)),), method=method)
        assert bool((lb <= values + 1e-12).all() and (values <= ub + 1e-12).all()), method
        assert bool(torch.autograd.grad((ub - lb).sum(), leaf)[0].isfinite().all()), method


def test_intervals_of_products_are_exact():
    x, eps = T(1, 5), 0.4
    ball = BoundedTensor(x, PerturbationLpNorm(eps=eps))
    lb, ub = BoundedModule(Accumulated(lambda x: x.cumprod(-1)), x).compute_bounds(x=(ball,), method="IBP")
    ends = torch.cartesian_prod(*torch.stack([x[0] - eps, x[0] + eps], 1)).cumprod(-1)
    torch.testing.assert_close((lb[0], ub[0]), (ends.amin(0), ends.amax(0)))
