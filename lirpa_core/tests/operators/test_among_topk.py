"""Which elements are among the largest."""

import itertools

import pytest
import torch

from lirpa_core.linear.interval import Interval
from lirpa_core.plugins import default_registry
from lirpa_core.rules import Call, Operand

lirpa = torch.ops.lirpa


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_against_all_corners(k, largest):
    op = default_registry() and lirpa.among_topk.default
    call = Call.of(op, Operand((4,)), k, 0, largest)
    rule = default_registry().rule_for(op)
    generator = torch.Generator().manual_seed(k)
    lower = torch.randn(40, 4, generator=generator).double()
    upper = lower + 1.5 * torch.rand(40, 4, generator=generator).double()
    found = rule.interval(call, (Interval(lower, upper),))
    corners = torch.tensor(list(itertools.product((0.0, 1.0), repeat=4))).double()
    seen = op(lower + corners.unsqueeze(1) * (upper - lower), k, -1, largest).double()
    assert torch.equal(found.lower, seen.amin(0)) and torch.equal(found.upper, seen.amax(0))
    assert set(found.lower.unique().tolist()) == {0.0, 1.0}  # some are decided, or the test says nothing
