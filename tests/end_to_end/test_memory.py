"""A small budget changes the chunks, never the bounds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm


@pytest.mark.parametrize("norm", [2.0, float("inf")])
@pytest.mark.parametrize("option", [{"memory_budget": 1}, {"memory_budget": 20_000}, {"crown_batch_size": 3}])
def test_chunks_change_nothing(option: dict[str, int], norm: float) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 7)
    ).double()
    x = torch.randn(3, 6, dtype=torch.float64)
    point = BoundedTensor(x, PerturbationLpNorm(norm=norm, eps=0.2))
    whole = BoundedModule(model, x).compute_bounds(x=point)
    parts = BoundedModule(model, x, bound_opts=option).compute_bounds(x=point)
    assert torch.allclose(whole.lower, parts.lower, rtol=1e-12, atol=1e-12)
    assert torch.allclose(whole.upper, parts.upper, rtol=1e-12, atol=1e-12)


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that any operator made."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for t in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(t, Tensor):
                self.bytes = max(self.bytes, t.untyped_storage().nbytes())
        return out


def test_a_large_layer_stays_within_its_budget() -> None:
    # All 2048 rows, lower and upper, over 2048 elements of 4 examples would be 134 MB.
    model = nn.Sequential(
        nn.Linear(16, 2048), nn.ReLU(), nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 2)
    )
    x = torch.randn(4, 16)
    budget = 32 * 2**20
    bounded = BoundedModule(model, x, bound_opts={"memory_budget": budget})
    point = BoundedTensor(x, PerturbationLpNorm(eps=0.2))
    with torch.no_grad(), Largest() as largest:
        lower, upper = bounded.compute_bounds(x=point)
    assert bool((lower <= upper).all())
    assert largest.bytes <= budget
