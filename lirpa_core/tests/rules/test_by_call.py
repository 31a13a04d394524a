"""A rule that is one of two."""

from dataclasses import fields

import torch

from lirpa_core.linear.interval import Interval
from lirpa_core.plugins import default_registry
from lirpa_core.rules import ByCall, Call, Operand, Rule

aten = torch.ops.aten


def test_it_is_the_rule_that_the_call_picks():
    rule = default_registry().rule_for(aten.gather.default)
    fixed = Call.of(aten.gather.default, Operand((3,)), 0, torch.tensor([2, 0]))
    moving = Call.of(aten.gather.default, Operand((3,)), 0, Operand((2,), torch.int64))
    assert rule.of(fixed) is rule.usual and rule.of(moving) is rule.other
    assert rule.is_affine(fixed) and not rule.is_affine(moving)
    assert rule.needs_interval(fixed) == (False,) and rule.needs_interval(moving) == (True, True)
    assert rule.domain_slot(moving) == 1
    assert rule.family == rule.usual.family == "linear"


def test_every_method_of_a_rule_is_passed_on():
    own = {name for name, member in vars(Rule).items() if callable(member) and not name.startswith("_")}
    # How many calls are relaxed at once, and what is known around a point, are defaults that are sound.
    assert own - set(vars(ByCall)) == {"relax_all", "around"}
    assert {f.name for f in fields(ByCall)} == {"usual", "other", "which"}


def test_slopes_of_the_values_are_still_moved():
    rule = default_registry().rule_for(aten.max.dim)
    call = Call.of(aten.max.dim, Operand((3,)), 0, output=0)
    x = (Interval(torch.zeros(1, 3).double(), torch.ones(1, 3).double()),)
    slopes = rule.slopes(call, x)
    assert len(slopes) == 2
    given = rule.relax_with(call, x, [s.start for s in slopes])
    assert torch.equal(given.upper.bias, rule.relax(call, x).upper.bias)
