"""Order statistics, and what positions select."""

import itertools
import math

import pytest
import torch
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import UnsupportedOperandError
from lirpa_core.linear.interval import Interval
from lirpa_core.plugins import default_registry
from lirpa_core.rules.call import Call, Operand
from lirpa_testing.core_cases.order import CASES, call

aten = torch.ops.aten


class Model(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def X(*sizes: int) -> Operand:
    return Operand(sizes)


@pytest.mark.parametrize("name", CASES)
def test_sound_and_the_range(name, oracle):
    given = call(name)
    rule = default_registry().rule_for(given.node.target)
    rule.check(given)
    for width in (0.0, 0.3, 3.0):
        inputs = oracle.boxes(given, width=width)
        oracle.assert_sound(rule, given, inputs)
        (x,), found = inputs, rule.interval(given, inputs)  # nothing decreases
        oracle.close(found.lower, oracle.values(given, [x.lower]))
        oracle.close(found.upper, oracle.values(given, [x.upper]))


@pytest.mark.parametrize("name", [n for n in CASES if CASES[n][1][0].shape])
def test_its_matrices_are_matrices(name, oracle):
    given = call(name)
    relaxation = default_registry().rule_for(given.node.target).relax(given, oracle.boxes(given, width=2.0))
    for side in (relaxation.lower, relaxation.upper):
        (term,) = side.terms
        count = math.prod(term.in_shape)
        units = torch.eye(count).double().reshape(count, 1, *term.in_shape).expand(-1, 3, *term.in_shape)
        columns = term.apply(units, 2)  # [in, B, *out]
        J = columns.movedim(0, -1).reshape(3, math.prod(term.out_shape), count)
        oracle.assert_transposes(term, J, term.out_shape)


def test_where_the_order_is_known_it_is_a_permutation(oracle):
    given = Call.of(aten.sort.default, X(4), output=0)
    lower = torch.tensor([[5.0, -1.0, 9.0, 2.0]]).double()
    relaxation = default_registry().rule_for(aten.sort.default).relax(given, (Interval(lower, lower + 1),))
    expected = torch.eye(4).double()[[1, 3, 0, 2]][None]
    for side in (relaxation.lower, relaxation.upper):
        oracle.close(side.terms[0].weight, expected)
        oracle.close(side.bias, torch.zeros(1, 4).double())


def test_planes_stay_within_the_interval():
    given = Call.of(aten.sort.default, X(6), output=0)
    rule = default_registry().rule_for(aten.sort.default)
    lower = torch.randn(50, 6, generator=torch.Generator().manual_seed(0)).double()
    x = Interval(lower, lower + torch.rand(50, 6, generator=torch.Generator().manual_seed(1)).double())
    relaxation, corners = rule.relax(given, (x,)), list(itertools.product((0.0, 1.0), repeat=6))
    at = torch.tensor(corners).double()[:, None] * x.width + x.lower  # [64, 50, 6]
    values = at.sort(-1).values
    for side, sign in ((relaxation.lower, 1), (relaxation.upper, -1)):
        plane = (side.terms[0].weight @ at.unsqueeze(-1)).squeeze(-1) + side.bias
        assert (sign * (values - plane) >= -1e-12).all()
        assert (plane.amax(0) <= values.amax(0) + 0.75).all() and (
            plane.amin(0) >= values.amin(0) - 0.75
        ).all()


def test_the_first_and_the_last_are_bounded_as_minimum_and_maximum(oracle):
    lower = torch.randn(20, 5, generator=torch.Generator().manual_seed(3)).double()
    x = Interval(lower, lower + 1)
    rules = default_registry()
    sort = rules.rule_for(aten.sort.default).relax(Call.of(aten.sort.default, X(5), output=0), (x,))
    for place, op in ((0, aten.amin.default), (4, aten.amax.default)):
        own = rules.rule_for(op).relax(Call.of(op, X(5), [0]), (x,))
        for ours, theirs in ((sort.lower, own.lower), (sort.upper, own.upper)):
            oracle.close(ours.terms[0].weight[:, place], theirs.terms[0].weight)


@pytest.mark.parametrize(
    ("function", "same"),
    [
        (lambda x: x.gather(1, x.argsort(1)), lambda x: x.sort(1).values),
        (lambda x: x.gather(-1, x.argsort(1, descending=True)), lambda x: x.sort(1, descending=True).values),
        (lambda x: x.gather(1, x.topk(2).indices), lambda x: x.topk(2).values),
        (lambda x: x.gather(1, x.argmax(1, keepdim=True)), lambda x: x.amax(1, keepdim=True)),
        (lambda x: x.gather(1, x.argmin(1, keepdim=True)), lambda x: x.amin(1, keepdim=True)),
        (lambda x: x.gather(1, x.max(1, keepdim=True).indices), lambda x: x.amax(1, keepdim=True)),
        (lambda x: x.gather(1, x.kthvalue(2, 1, True).indices), lambda x: x.kthvalue(2, 1, True).values),
    ],
)
def test_positions_in_a_tensor_select_from_it(function, same):
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(2)).double()
    given = BoundedTensor(x, PerturbationLpNorm(eps=0.4))
    for method in ("IBP", "CROWN"):
        ours, theirs = (
            BoundedModule(Model(f), x).compute_bounds(x=given, method=method) for f in (function, same)
        )
        torch.testing.assert_close(ours.lower, theirs.lower)
        torch.testing.assert_close(ours.upper, theirs.upper)


@pytest.mark.parametrize(
    "function", [lambda x: (x**2).gather(1, x.argsort(1)), lambda x: x.argsort(1).to(x.dtype)]
)
def test_other_uses_of_positions_are_bounded(function):
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).double()
    lower, upper = BoundedModule(Model(function), x).compute_bounds(
        x=BoundedTensor(x, PerturbationLpNorm(eps=0.4))
    )
    values = function((x + 0.8 * torch.rand(500, 3, 4).double() - 0.4).reshape(-1, 4)).reshape(500, 3, 4)
    assert (values >= lower).all() and (values <= upper).all()


def test_take_along_dim_of_its_own_order_is_sort():
    x = torch.randn(3, 4).double()
    graph = BoundedModule(Model(lambda x: torch.take_along_dim(x, x.argsort(-1), -1)), x).graph
    assert [str(n.target) for n in graph.nodes if n.target is not None] == ["aten.sort.default"]


def test_an_open_order_is_refused():
    given = Call.of(aten.topk.default, X(4), 2, -1, True, False, output=0)
    with pytest.raises(UnsupportedOperandError, match="sorted=True"):
        default_registry().rule_for(aten.topk.default).check(given)


@pytest.mark.parametrize("how", ["linear", "lower", "higher", "midpoint", "nearest"])
@pytest.mark.parametrize(
    ("q", "dim", "keepdim"),
    [(0.3, 1, False), (torch.tensor([0.0, 0.4, 1.0]).double(), -1, True), (0.5, 2, True)],
)
def test_quantiles(q, dim, keepdim, how):
    def function(x):
        found = torch.quantile(x, q, dim, keepdim, interpolation=how)
        return found if not isinstance(q, torch.Tensor) else found.movedim(0, -1)

    x = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(2)).double()
    x = x.transpose(1, 2) if dim == 1 else x
    bounded = BoundedModule(Model(function), x)  # capture replays the model
    lower, upper = bounded.compute_bounds(x=BoundedTensor(x, PerturbationLpNorm(eps=0.4)), method="IBP")
    torch.testing.assert_close(lower, function(x - 0.4))
    torch.testing.assert_close(upper, function(x + 0.4))


def test_mode_is_the_least_or_one_that_another_may_equal():
    given = Call.of(aten.mode.default, X(3), 0, output=0)
    lower = torch.tensor([[0.0, 2.0, 5.0], [0.0, 2.0, 2.5]]).double()
    found = default_registry().rule_for(aten.mode.default).interval(given, (Interval(lower, lower + 1),))
    assert found.lower.tolist() == [[0], [0]] or found.lower.tolist() == [0, 0]
    assert found.upper.flatten().tolist() == [1, 3.5]


def test_nanquantile_is_quantile_of_numbers():
    x = torch.randn(2, 5, generator=torch.Generator().manual_seed(0)).double()
    bounds = [
        BoundedModule(Model(lambda x, f=f: f(x, 0.3, dim=-1)), x).compute_bounds(
            x=BoundedTensor(x, PerturbationLpNorm(eps=0.1))
        )
        for f in (torch.quantile, torch.nanquantile)
    ]
    assert torch.equal(bounds[0].lower, bounds[1].lower) and torch.equal(bounds[0].upper, bounds[1].upper)
