"""Logarithms of sums of exponentials the largest of which is one: what the others add is lost beside it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from flint import arb, ctx
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_testing import method_names

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "logarithm of a sum": lambda x: torch.logsumexp(x, -1, keepdim=True),
    "running": lambda x: torch.logcumsumexp(x, -1)[:, 1:],
    "of two": lambda x: torch.logaddexp(x[:, :1], x[:, 1:]),
    "logarithm of softmax": lambda x: -torch.log_softmax(x, -1)[:, :1],
}


class _Of(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        return FUNCTIONS[self.name](x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("method", sorted(method_names()))
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_small_beside_one_is_inside(name: str, method: str, dtype: torch.dtype) -> None:
    """`log(1 + exp(x))` of scores `(0, x)`, in balls of 300 bits, at both ends of small and of wide boxes."""
    options = {"optimize_bound_args": {"iteration": 2}}
    bounded = BoundedModule(_Of(name), torch.zeros(1, 2, dtype=dtype), options)
    for far in (-8.0, -15.5, -17.0, -30.0, -36.5, -40.0, -60.0):
        for eps in (2.0**-30, 2.0**-4, 1.0):
            low, up = (torch.tensor([[0.0, far + side * eps]], dtype=dtype) for side in (-1, 1))
            x = torch.tensor([[0.0, far]], dtype=dtype)
            ball = BoundedTensor(x, PerturbationLpNorm(x_L=low, x_U=up))
            lower, upper = bounded.compute_bounds(x=ball, method=method)
            with ctx.workprec(300):
                for end in (low, x, up):
                    exact = arb(float(end[0, 1])).exp().log1p()
                    assert arb(float(lower)) <= exact <= arb(float(upper)), (far, eps)
