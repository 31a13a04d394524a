"""A small bound problem, and samples of what its output may be."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedTensor, PerturbationLpNorm, functional
from lirpa_core.methods import Problem


class Branching(nn.Module):
    """Layers, a residual connection and a product."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(3, 5), nn.Linear(5, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.first(x))
        return self.last(h + torch.tanh(self.second(h)) * h)


@dataclass(frozen=True)
class Setting:
    """A bound problem with its model, and outputs `[n, B, 2]` at samples of the set."""

    model: nn.Module
    x: Tensor
    problem: Problem
    node: str
    samples: Tensor
    outputs: Tensor


@pytest.fixture(scope="session", params=[float("inf"), 2.0], ids=["Linf", "L2"])
def setting(request: pytest.FixtureRequest) -> Setting:
    torch.manual_seed(0)
    model, x = Branching().double().eval(), torch.randn(4, 3, dtype=torch.float64)
    ptb = PerturbationLpNorm(norm=request.param, eps=0.3)
    problem = functional.bind(functional.capture(model, x), BoundedTensor(x, ptb))
    (node,) = functional.output_names(problem)
    samples = ptb.sample(x, 200)
    with torch.no_grad():
        outputs = model(samples.flatten(0, 1)).reshape(200, 4, 2)
    return Setting(model, x, problem, node, samples, outputs)
