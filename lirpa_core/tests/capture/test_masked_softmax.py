"""Where a softmax of masked scores is recognised, and where it is not."""

import math

import pytest
import torch
from torch import nn

from lirpa_core.capture.masked_softmax import fuse_masked_softmax

MASK = torch.tensor([False, True, False])
INF = math.inf


class Apply(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


FUSED = {
    "masked_fill": lambda x: x.masked_fill(MASK, -INF).softmax(-1),
    "where": lambda x: torch.where(MASK, -INF, x).softmax(-1),
    "twice": lambda x: x.masked_fill(MASK, -INF).masked_fill(~MASK & (MASK == 2), -INF).softmax(-1),
    "the output is the softmax": lambda x: torch.softmax(x.masked_fill(MASK, -INF), 1),
}
KEPT = {
    "a finite number": lambda x: x.masked_fill(MASK, -1e4).softmax(-1),
    "another element type": lambda x: x.masked_fill(MASK, -INF).softmax(-1, dtype=torch.float64),
    "plus infinity": lambda x: x.masked_fill(MASK, INF).softmax(-1),
    "a larger mask": lambda x: torch.where(MASK.expand(2, 3), -INF, x[0]).softmax(-1),
    "the other way round": lambda x: torch.where(MASK, x, 1.0).softmax(-1),
    "nothing masked": lambda x: (x + 1).softmax(-1),
}


def _program(function):
    program = torch.export.export(Apply(function), (torch.ones(1, 3),), strict=False)
    fuse_masked_softmax(program)
    return program, [str(n.target) for n in program.graph.nodes]


@pytest.mark.parametrize("name", FUSED)
def test_fused(name):
    program, targets = _program(FUSED[name])
    assert "lirpa.masked_softmax.default" in targets
    assert not any("softmax.int" in t or "masked_fill" in t or "where" in t for t in targets)
    x = torch.randn(1, 3)
    torch.testing.assert_close(program.module()(x), FUSED[name](x))


@pytest.mark.parametrize("name", KEPT)
def test_left_alone(name):
    _, targets = _program(KEPT[name])
    assert "lirpa.masked_softmax.default" not in targets
