"""Relaxing nodes of one rule at once changes nothing."""

from __future__ import annotations

import torch
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.methods.together import Together


class Steps(nn.Module):
    """An LSTM, the steps of which are gates of the same rules."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.LSTM(3, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, x):
        return self.head(self.layer(x)[0][:, -1])


def test_bounds_and_gradients_are_those_of_one_at_a_time(monkeypatch):
    torch.manual_seed(0)
    model, x = Steps().double(), torch.randn(2, 4, 3, dtype=torch.float64)
    ball = BoundedTensor(x, PerturbationLpNorm(eps=0.1))
    results = []
    for together in (True, False):
        if not together:
            monkeypatch.setattr(
                Together,
                "__call__",
                lambda self, problem, name, inputs: problem.rules[name].relax(problem.calls[name], inputs),
            )
        model.zero_grad()
        lower, upper = BoundedModule(model, x, bound_opts={"rounding": "nearest"}).compute_bounds(
            x=(ball,), method="CROWN-IBP"
        )
        (upper - lower).sum().backward()
        results.append([lower, upper, *[p.grad.clone() for p in model.parameters() if p.grad is not None]])
    assert len(results[0]) == len(results[1]) > 2
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
