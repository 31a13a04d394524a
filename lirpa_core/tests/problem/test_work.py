"""The work of a row is counted as the products of matrices and convolutions are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedTensor, PerturbationLpNorm, functional
from lirpa_core.problem.work import Work


def work(model: nn.Module, *shape: int) -> Work:
    x = torch.rand(1, *shape)
    problem = functional.bind(
        functional.capture(model.eval(), x), BoundedTensor(x, PerturbationLpNorm(eps=0.1))
    )
    return problem.facts.work[problem.facts.reversed_order[0]]


def test_linear_layers() -> None:
    found = work(nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 7)), 20)
    assert found.operators == 3 and found.elements == 30 + 30 + 7 and found.widest == 30
    assert found.products == pytest.approx(20 * 30 + 30 * 7, rel=0.25)


def test_a_convolution_is_its_kernel_at_every_position() -> None:
    found = work(nn.Conv2d(3, 8, 3, padding=1), 3, 10, 10)
    assert found.products == pytest.approx(8 * 10 * 10 * 3 * 9, rel=0.1)


def test_what_goes_element_by_element_is_no_sum_over_all() -> None:
    found = work(nn.BatchNorm2d(4), 4, 16, 16)
    assert found.products <= 10 * found.elements


class Product(nn.Module):
    """One input as two matrices, multiplied."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :6].reshape(-1, 2, 3) @ x[:, 6:].reshape(-1, 3, 5)


def test_a_product_of_two_perturbed_matrices() -> None:
    found = work(Product(), 21)
    moved = found.products - 2 * 2 * 3 * 5  # two planes of each product
    assert 0 <= moved <= 4 * 21 * 3
