"""Assignments to what a boolean mask picks are choices, whatever the mask depends on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import DataDependentShapeError


def number(y: Tensor) -> None:
    y[y < 0] = 0.0


def tensor(y: Tensor) -> None:
    y[y < 0] = torch.tensor([0.5])


def rows(y: Tensor) -> None:
    y[y[:, 0] > 0] = torch.tensor([1.0, 2.0, 3.0, 4.0])


def computed(y: Tensor) -> None:
    y[y > 0.5] = torch.tensor(2.0).sqrt()


def constant(y: Tensor) -> None:
    y[torch.tensor([True, False, True, False]).expand(y.shape[0], 4)] = -1.0


class Assigning(nn.Module):
    def __init__(self, assign: Callable[[Tensor], None]) -> None:
        super().__init__()
        self.assign = assign

    def forward(self, x: Tensor) -> Tensor:
        y = x * 2 - 1
        self.assign(y)
        return y + x


def test_what_is_assigned_to_may_be_the_output() -> None:
    def model(x: Tensor) -> Tensor:
        y = x.clone()
        y[y < 0.5] = 0.0
        return y

    x = torch.tensor([[0.2, 0.6, 0.9]])
    lower, upper = BoundedModule(model, x).compute_bounds(BoundedTensor(x, PerturbationLpNorm(eps=0.2)))
    torch.testing.assert_close(lower, torch.tensor([[0.0, 0.0, 0.7]]))
    torch.testing.assert_close(upper, torch.tensor([[0.0, 0.8, 1.1]]))


@pytest.mark.parametrize("assign", [number, tensor, rows, computed, constant])
@pytest.mark.parametrize("method", ["IBP", "CROWN", "CROWN-Optimized", "forward"])
def test_bounds_hold(assign: Callable[[Tensor], None], method: str) -> None:
    x = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    model = Assigning(assign)
    lower, upper = BoundedModule(model, x).compute_bounds(
        BoundedTensor(x, PerturbationLpNorm(eps=0.1)), method=method
    )
    moves = torch.rand(100, 3, 4, generator=torch.Generator().manual_seed(1)) * 0.2 - 0.1
    for move in moves:
        value = model(x + move)
        assert bool((lower <= value).all() and (value <= upper).all())


@pytest.mark.parametrize(
    "assign",
    [
        lambda y: y.__setitem__(y < 0, y[y < 0] * 2),
        lambda y: y.index_put_((y < 0,), y[y < 0], accumulate=True),
    ],
)
def test_as_many_values_as_the_mask_picks_are_refused(assign: Callable[[Tensor], None]) -> None:
    with pytest.raises(DataDependentShapeError, match=r"torch\.where"):
        BoundedModule(Assigning(assign), torch.rand(3, 4))
