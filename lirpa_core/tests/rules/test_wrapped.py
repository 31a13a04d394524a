"""A rule around another one answers as that one, and promises nothing more."""

from __future__ import annotations

import pytest
import torch

from lirpa_core.errors import UnsupportedOperandError
from lirpa_core.linear.interval import Interval
from lirpa_core.plugins import default_registry
from lirpa_core.rules.call import Call, Operand
from lirpa_core.rules.wrapped import Wrapped

aten = torch.ops.aten


@pytest.mark.parametrize("op", [aten.log.default, aten.neg.default, aten.tanh.default])
def test_answers_as_the_rule_inside(op: object) -> None:
    rule = default_registry().rule_for(op)
    assert rule is not None
    call, box = (
        Call.of(op, Operand((3,))),
        Interval(torch.tensor([[-1.0, 0.5, 1.0]]), torch.tensor([[2.0, 0.7, 4.0]])),
    )
    outer = Wrapped(rule)
    assert (outer.family, outer.modes) == (rule.family, rule.modes)
    assert outer.is_affine(call) == rule.is_affine(call)
    assert outer.accuracy(call) == rule.accuracy(call)
    assert outer.needs_interval(call) == rule.needs_interval(call)
    for mine, inside in zip(
        outer.unstable_inputs(call, (box,)), rule.unstable_inputs(call, (box,)), strict=True
    ):
        assert (mine is None and inside is None) or torch.equal(mine, inside)
    outside = rule.domain_violation(call, (box,))
    mine = outer.domain_violation(call, (box,))
    assert (mine is None and outside is None) or torch.equal(mine, outside)
    assert outside is None or bool(outside[0, 0])
    inner = Interval(torch.tensor([[0.1, 0.5, 1.0]]), torch.tensor([[2.0, 0.7, 4.0]]))
    assert torch.equal(outer.interval(call, (inner,)).upper, rule.interval(call, (inner,)).upper)
    x = torch.tensor([[0.3, 0.6, 2.0]])
    for mine, inside in (
        (outer.relax(call, (inner,)).lower, rule.relax(call, (inner,)).lower),
        (outer.relax(call, (inner,)).upper, rule.relax(call, (inner,)).upper),
    ):
        assert torch.equal(mine.terms[0].apply(x), inside.terms[0].apply(x))


def test_refuses_what_the_rule_inside_refuses() -> None:
    rule = default_registry().rule_for(aten.tanh.default)
    call = Call.of(aten.add.Tensor, Operand((3,)), Operand((3,)))
    with pytest.raises(UnsupportedOperandError):
        Wrapped(rule).check(call)


def test_promises_no_slopes_and_no_selection() -> None:
    rule = default_registry().rule_for(aten.relu.default)
    call, box = Call.of(aten.relu.default, Operand((2,))), Interval(-torch.ones(1, 2), torch.ones(1, 2))
    assert rule.slopes(call, (box,)) and not Wrapped(rule).slopes(call, (box,))
    moved = default_registry().rule_for(aten.neg.default)
    assert not Wrapped(moved).selects
