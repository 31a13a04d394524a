"""The measurement of what outward rounding adds."""

from __future__ import annotations

import torch
from benchmarks import rounding


def test_both_ways_are_timed_and_told_apart() -> None:
    name, make, shape, batch, eps, methods = rounding.NETWORKS[0]
    model, x = make().eval(), torch.rand(batch, *shape)
    nearest, outward = rounding.compared(model, x, eps, methods[0], seconds=0.0)
    assert name.startswith("MLP") and 0 < nearest < 10 and 0 < outward < 10
