"""A curve of one operand, and another rule where more are perturbed."""

import pytest
import torch

from lirpa_core.errors import UnsupportedOperandError
from lirpa_core.linear.interval import Interval
from lirpa_core.operators.activation.piecewise_linear import clamp
from lirpa_core.operators.limits import CLAMP, CLAMP_MAX
from lirpa_core.rules import Call, Operand, Unary
from lirpa_core.rules.unary import UnaryOrSeveral

RULE = UnaryOrSeveral(clamp, several=CLAMP)
OP = torch.ops.aten.clamp.Tensor
LOW, HIGH = torch.tensor(-1.0).double(), torch.tensor(0.5).double()
X1 = Operand((3,))
X = Interval(torch.full((1, 3), -3.0).double(), torch.tensor([[-2.0, 0.0, 4.0]]).double())


def test_of_one_operand_it_is_the_curve():
    call, curve = Call.of(OP, Operand((3,)), LOW, HIGH), Unary(clamp)
    RULE.check(call)
    assert torch.equal(RULE.interval(call, (X,)).lower, curve.interval(call, (X,)).lower)
    assert torch.equal(
        RULE.relax(call, (X,)).upper.terms[0].slope, curve.relax(call, (X,)).upper.terms[0].slope
    )
    starts = RULE.slopes(call, (X,))
    assert len(starts) == 2 == len(curve.slopes(call, (X,)))
    relaxed = RULE.relax_with(call, (X,), [slope.start for slope in starts])
    assert torch.equal(relaxed.lower.terms[0].slope, starts[0].start)
    assert torch.equal(RULE.unstable_inputs(call, (X,))[0], curve.unstable_inputs(call, (X,))[0])
    assert RULE.accuracy(call) == curve.accuracy(call) and RULE.needs_interval(call) == (True,)
    assert RULE.domain_violation(call, (X,)) is None


def test_of_more_it_is_the_other_rule():
    call = Call.of(OP, Operand((3,)), Operand((3,)), HIGH)
    RULE.check(call)
    boxes = (X, X)
    assert torch.equal(RULE.interval(call, boxes).upper, CLAMP.interval(call, boxes).upper)
    assert torch.equal(RULE.relax(call, boxes).upper.bias, CLAMP.relax(call, boxes).upper.bias)
    assert RULE.slopes(call, boxes) == () and RULE.needs_interval(call) == (True, True)
    assert torch.equal(RULE.relax_with(call, boxes, []).lower.bias, CLAMP.relax(call, boxes).lower.bias)
    assert RULE.accuracy(call) == CLAMP.accuracy(call) and RULE.domain_violation(call, boxes) is None
    assert len(RULE.unstable_inputs(call, boxes)) == 2


def test_what_neither_knows_is_refused():
    call = Call.of(OP, X1, X1, HIGH)
    with pytest.raises(UnsupportedOperandError):
        UnaryOrSeveral(clamp, several=CLAMP_MAX).check(call)
