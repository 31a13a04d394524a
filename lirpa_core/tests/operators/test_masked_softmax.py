"""Where a softmax of masked scores is recognised, and where it is not; what it is where nothing is left."""

import math

import pytest
import torch

from lirpa_core.capture.functions import FunctionModule
from lirpa_core.capture.in_place import make_new
from lirpa_core.capture.patterns import rewrite
from lirpa_core.capture.registry_as_executed import RegistryAsExecuted
from lirpa_core.plugins import default_registry

MASK = torch.tensor([False, True, False])
INF = math.inf

FUSED = {
    "masked_fill": lambda x: x.masked_fill(MASK, -INF).softmax(-1),
    "in place": lambda x: (x + 0).masked_fill_(MASK, -INF).softmax(-1),
    "where": lambda x: torch.where(MASK, -INF, x).softmax(-1),
    "where it is kept": lambda x: torch.where(~MASK, x, -INF).softmax(-1),
    "twice": lambda x: x.masked_fill(MASK, -INF).masked_fill(~MASK & (MASK == 2), -INF).softmax(-1),
    "kept, then masked": lambda x: torch.where(~MASK, x, -INF).masked_fill(MASK, -INF).softmax(-1),
    "the output is the softmax": lambda x: torch.softmax(x.masked_fill(MASK, -INF), 1),
}
KEPT = {
    "a finite number": lambda x: x.masked_fill(MASK, -1e4).softmax(-1),
    "another element type": lambda x: x.masked_fill(MASK, -INF).softmax(-1, dtype=torch.float64),
    "plus infinity": lambda x: x.masked_fill(MASK, INF).softmax(-1),
    "a larger mask": lambda x: torch.where(MASK.expand(2, 3), -INF, x[0]).softmax(-1),
    "another number": lambda x: torch.where(MASK, x, 1.0).softmax(-1),
    "nothing masked": lambda x: (x + 1).softmax(-1),
}


def _program(function, executed):
    registry = RegistryAsExecuted(default_registry()) if executed else default_registry()
    program = torch.export.export(FunctionModule(function), (torch.ones(1, 3),), strict=False)
    rewrite(program, [entry.pattern for entry in registry.patterns.values()], make_new(program))
    return program, [str(n.target) for n in program.graph.nodes]


@pytest.mark.parametrize("executed", [False, True], ids=["real", "as executed"])
@pytest.mark.parametrize("name", FUSED)
def test_fused(name, executed):
    program, targets = _program(FUSED[name], executed)
    assert "lirpa.masked_softmax.default" in targets
    assert not any("softmax.int" in t or "masked_fill" in t or "where" in t for t in targets)
    x = torch.randn(1, 3)
    torch.testing.assert_close(program.module()(x), FUSED[name](x))


@pytest.mark.parametrize("name", KEPT)
def test_left_alone(name):
    _, targets = _program(KEPT[name], executed=False)
    assert "lirpa.masked_softmax.default" not in targets


def test_where_nothing_is_left_it_is_zero():
    x = torch.randn(2, 3)
    mask = torch.tensor([[True, True, True], [False, True, False]])
    got = torch.ops.lirpa.masked_softmax(x, mask, -1)
    assert not got[0].any()
    torch.testing.assert_close(got[1], FUSED["masked_fill"](x[1]))
