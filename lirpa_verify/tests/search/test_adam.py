"""Steps are those of PyTorch's optimiser."""

from __future__ import annotations

import torch
from lirpa_verify.search.adam import Adam
from torch import Tensor


def value(a: Tensor, b: Tensor) -> Tensor:
    return -((a - 1) ** 4).sum() - (b * a[0]).square().sum()


def test_steps_are_pytorchs() -> None:
    torch.manual_seed(0)
    start = [torch.randn(4, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)]
    own, its, unused = ([v.clone().requires_grad_() for v in start] for _ in range(3))
    optimizer = torch.optim.Adam(
        [{"params": [its[0]], "lr": 0.1}, {"params": [its[1]], "lr": 0.3}], maximize=True
    )
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    ours = Adam([*own, unused[0]], [0.1, 0.3, 1.0], 0.9)
    for _ in range(12):
        ours.step([*torch.autograd.grad(value(*own), own), None])
        optimizer.zero_grad()
        value(*its).backward()
        optimizer.step()
        schedule.step()
    for a, b in zip(own, its, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    assert torch.equal(unused[0], start[0])
    assert value(*own) > value(*start)
