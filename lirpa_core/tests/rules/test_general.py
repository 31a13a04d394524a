"""The general family hands over what its author states, and refuses the rest."""

import pytest
import torch

from lirpa_core.errors import UnsupportedOperandError
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.rules.call import Call, Operand
from lirpa_core.rules.general import General
from lirpa_testing import check_rule

aten = torch.ops.aten


def _bound(call, inputs):
    (x,) = inputs
    return Interval(x.lower.sin().clamp(max=0) * 0 - 1, torch.ones_like(x.upper))


def _affine(call, inputs):
    box = _bound(call, inputs)
    return Relaxation(Affine((None,), box.lower), Affine((None,), box.upper))


RULE = General(("self",), _bound, _affine)
CALL = Call.of(aten.sin.default, Operand((3,)))


def test_it_says_what_its_author_says():
    check_rule(RULE, CALL, examples=7, regimes=("wide", "huge"), without=("degenerate",))
    assert not RULE.is_affine(CALL) and RULE.needs_interval(CALL) == (True,)


def test_points_are_not_loose_unless_the_author_says_so():
    lower = torch.zeros(1, 3)
    box = Interval(lower, torch.tensor([[0.0, 1.0, 0.0]]))
    assert RULE.unstable_inputs(CALL, (box,))[0].tolist() == [[False, True, False]]
    told = General(("self",), _bound, _affine, unstable_where=lambda call, inputs: (None,))
    assert told.unstable_inputs(CALL, (box,)) == (None,)


def test_refusals():
    with pytest.raises(UnsupportedOperandError, match="argument 'self'"):
        General(("other",), _bound, _affine).check(CALL)
    with pytest.raises(UnsupportedOperandError, match="odd"):
        General(("self",), _bound, _affine, refuse=lambda call: "odd").check(CALL)
    RULE.check(CALL)


def test_a_missing_interval_is_an_error_of_the_method():
    with pytest.raises(AssertionError, match="every interval"):
        RULE.relax(CALL, (None,))
