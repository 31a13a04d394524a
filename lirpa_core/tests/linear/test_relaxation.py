"""A relaxation is exact where one affine function stands for both sides, and then loses nothing."""

from __future__ import annotations

import pytest
import torch

from lirpa_core.linear import Affine, Interval, Relaxation
from lirpa_core.linear.operators import Diagonal
from lirpa_core.plugins import default_registry
from lirpa_core.rules import Call, Operand

aten = torch.ops.aten


def test_exactly_is_exact_and_two_equal_functions_are_not() -> None:
    line = Affine((Diagonal(torch.ones(1, 2), (2,)),))
    assert Relaxation.exactly(line).exact
    assert not Relaxation(line, Affine(line.terms)).exact


@pytest.mark.parametrize(
    ("op", "exact"), [(aten.neg.default, True), (aten.relu.default, False), (aten.tanh.default, False)]
)
def test_a_relaxation_holds_on_its_box(op: torch._ops.OpOverload, exact: bool) -> None:
    call, x = Call.of(op, Operand((4,))), torch.linspace(-2, 1, 4, dtype=torch.float64).unsqueeze(0)
    box = Interval(x, x + 1.5)
    rule = default_registry().rule_for(op)
    assert rule is not None
    relaxation = rule.relax(call, (box,))
    assert relaxation.exact is exact
    for t in torch.linspace(0, 1, 33, dtype=torch.float64):
        z = torch.lerp(box.lower, box.upper, t)
        y = op(z)
        for side, sign in ((relaxation.lower, 1), (relaxation.upper, -1)):
            (term,) = side.terms
            assert term is not None
            line = term.apply(z) + (0 if side.bias is None else side.bias)
            assert bool((sign * (y - line) >= -1e-12).all())
