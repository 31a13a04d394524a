"""A square that overflows in float32 is finite in exact arithmetic: what is divided by its root does not vanish."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import LirpaError
from lirpa_testing import method_names


class Normalized(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 2.0**-10).sqrt()


@pytest.mark.parametrize("method", method_names())
def test_bounds_hold_or_are_refused(method: str) -> None:
    x = torch.tensor([[-6e19, 2e20]])
    try:
        ball = BoundedTensor(x, PerturbationLpNorm(eps=1.0))
        lower, upper = BoundedModule(Normalized(), x).compute_bounds(x=(ball,), method=method)
    except LirpaError:
        return  # fails closed
    value = torch.tensor([[-1.0, 1.0]])
    assert bool((lower <= value).all()) and bool((value <= upper).all())
