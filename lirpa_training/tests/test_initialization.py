"""IBP initialisation keeps interval bounds from growing or shrinking with depth."""

from __future__ import annotations

import torch
from torch import nn

from lirpa_core import BoundedTensor, PerturbationLpNorm, functional
from lirpa_training import ibp_initialize


def widths(model: nn.Module) -> list[float]:
    """Mean width behind each linear layer."""
    x = torch.zeros(1, 256)
    problem = functional.bind(functional.capture(model, x), BoundedTensor(x, PerturbationLpNorm(eps=0.1)))
    found = functional.intervals(problem)
    layers = [n for n, c in problem.calls.items() if "linear" in str(c.node.target)]
    return [float(found[name].width.mean().detach()) for name in layers]


def deep() -> nn.Module:
    torch.manual_seed(0)
    layers = [layer for _ in range(6) for layer in (nn.Linear(256, 256), nn.ReLU())]
    return nn.Sequential(*layers).eval()


def test_widths_stay_where_those_of_pytorch_grow() -> None:
    plain, ours = widths(deep()), widths(ibp_initialize(deep(), torch.Generator().manual_seed(0)))
    assert plain[-1] / plain[0] > 100
    assert 0.5 < ours[-1] / ours[0] < 2


def test_other_parameters_stay_and_biases_are_zero() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Linear(4, 2, bias=False))
    before = {n: p.clone() for n, p in model.named_parameters()}
    assert ibp_initialize(model) is model
    after = dict(model.named_parameters())
    assert not bool(after["0.bias"].any())
    assert torch.equal(after["1.weight"], before["1.weight"])
    assert not torch.equal(after["0.weight"], before["0.weight"])
    assert not torch.equal(after["2.weight"], before["2.weight"])
