"""Intervals of what is affine in a set that is no box."""

import pytest
import torch
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.methods import ibp


class Heads(nn.Module):
    """A layer over tokens whose outputs are cut into heads, or from which one token is taken."""

    def __init__(self, one: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 5), nn.Linear(5, 4)
        self.one = one

    def affine(self, x):
        y = self.second(self.first(2 * x) - 1)
        return y[:, 1] if self.one else y.unflatten(2, (2, 2)).transpose(1, 2)

    def forward(self, x):
        return torch.sigmoid(self.affine(x)).flatten(1)


@pytest.mark.parametrize("norm", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("one", [False, True])
def test_layers_over_tokens_are_bounded_exactly(norm, one, monkeypatch):
    torch.manual_seed(0)
    model, x = Heads(one).double(), torch.randn(2, 3, 3).double()
    seen, exactly = [], ibp._exactly
    monkeypatch.setattr(ibp, "_exactly", lambda p, name, *rest: seen.append(name) or exactly(p, name, *rest))
    bounded = BoundedModule(model, x)
    ball = BoundedTensor(x, PerturbationLpNorm(norm=norm, eps=0.3))
    lower, upper = bounded.compute_bounds(x=(ball,), method="IBP")
    weight = 2 * model.second.weight @ model.first.weight  # [4, 3]
    dual = {1.0: torch.inf, 2.0: 2.0, 3.0: 1.5}[norm]
    radius = 0.3 * torch.linalg.vector_norm(weight, dual, dim=1)
    y, spread = model.affine(x), radius.expand(2, 4) if one else radius.reshape(1, 2, 1, 2)
    torch.testing.assert_close(lower, torch.sigmoid(y - spread).flatten(1))
    torch.testing.assert_close(upper, torch.sigmoid(y + spread).flatten(1))
    assert len(seen) == 1  # heads are cut from a layer that is bounded once
