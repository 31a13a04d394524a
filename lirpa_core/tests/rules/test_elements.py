"""Expressions of several operands: sound for sums, products, maxima, curves, constants, and boxes without a plane."""

import pytest
import torch

from lirpa_core.linear.interval import Interval
from lirpa_core.operators.activation.elementary import LOG, RECIPROCAL
from lirpa_core.operators.activation.s_shaped import TANH
from lirpa_core.rules import Call, Const, Operand
from lirpa_core.rules.elements import of_elements


def f_sum(x, y):
    return x + y - y - x


def f_product(x, y):
    return x * y


def f_larger(x, y):
    return torch.maximum(x, y) * torch.minimum(x, -y)


def f_curve(x, y):
    return torch.tanh(x * y) * x


EXPRESSIONS = {
    f_sum: lambda x, y: x + y - y - x,
    f_product: lambda x, y: x * y,
    f_larger: lambda x, y: x.maximum(y) * x.minimum(-y),
    f_curve: lambda x, y: (x * y).apply(TANH) * x,
}


@pytest.mark.parametrize("function", EXPRESSIONS)
@pytest.mark.parametrize("operands", ["both", "broadcast", "first", "second", "batched"])
@pytest.mark.parametrize("width", [0.0, 0.5, 3.0])
def test_sound(function, operands, width, oracle):
    fixed = torch.tensor([0.5, -1.0, 2.0]).double()
    x, y = {
        "both": (Operand((3,)), Operand((3,))),
        "broadcast": (Operand((2, 1)), Operand((3,))),
        "first": (Operand((2, 3)), fixed),
        "second": (fixed, Operand((2, 3))),
        "batched": (Operand((3,)), Const(torch.randn(3, 3).double(), batched=True)),
    }[operands]
    call = Call.of(function, x, y, batch=3)
    rule = of_elements(("x", "y"), EXPRESSIONS[function])
    oracle.assert_sound(rule, call, oracle.boxes(call, width=width))


def test_a_sum_is_exact():
    call = Call.of(f_sum, Operand((2,)), Operand((2,)))
    box = Interval(-torch.ones(1, 2).double(), torch.ones(1, 2).double())
    relaxation = of_elements(("x", "y"), EXPRESSIONS[f_sum]).relax(call, (box, box))
    for side in (relaxation.lower, relaxation.upper):
        assert all((term.slope == 0).all() for term in side.terms) and (side.bias == 0).all()


def test_planes_of_a_product_are_mccormicks_best_at_the_centre():
    call = Call.of(f_product, Operand((1,)), Operand((1,)))
    x, y = (
        Interval(torch.tensor([[a]]).double(), torch.tensor([[b]]).double()) for a, b in ((-1, 3), (2, 6))
    )
    relaxation = of_elements(("x", "y"), EXPRESSIONS[f_product]).relax(call, (x, y))
    for side, sign in ((relaxation.lower, -1), (relaxation.upper, 1)):
        at_centre = sum(t.slope * b.midpoint for t, b in zip(side.terms, (x, y), strict=True)) + side.bias
        assert at_centre.item() == pytest.approx(1 * 4 + sign * 2 * 2)


def test_outside_of_the_domain_there_is_no_bound():
    def f(x, y):
        return torch.log(x) + y

    rule = of_elements(("x", "y"), lambda x, y: x.apply(LOG) + y, outside=lambda x, y: ~(x.lower > 0))
    call = Call.of(f, Operand((1,)), Operand((1,)))
    boxes = tuple(Interval(-torch.ones(1, 1).double(), torch.ones(1, 1).double()) for _ in range(2))
    assert rule.domain_violation(call, boxes).all()
    found = rule.interval(call, boxes)
    assert found.lower.item() == -torch.inf and found.upper.item() == torch.inf
    relaxation = rule.relax(call, boxes)
    assert relaxation.lower.bias.item() == -torch.inf and relaxation.upper.bias.item() == torch.inf


def test_elsewhere_a_number_stands_in():
    def f(x, y):
        return torch.where(y > 5, 1 / y, x)

    call = Call.of(f, Operand((2,)), Operand((2,)))

    def expression(x, y):
        taken = y.box.lower > 5
        inverse = y.where(taken, 1.0).apply(RECIPROCAL)
        return x.where(~taken, 0.0) + inverse.where(taken, 0.0)

    lower = torch.tensor([[-1.0, 6.0]]).double()
    boxes = (Interval(-torch.ones(1, 2).double(), torch.ones(1, 2).double()), Interval(lower, lower + 1))
    found = of_elements(("x", "y"), expression).interval(call, boxes)
    torch.testing.assert_close(found.lower, torch.tensor([[-1.0, 1 / 7]]).double())
    torch.testing.assert_close(found.upper, torch.tensor([[1.0, 1 / 6]]).double())
