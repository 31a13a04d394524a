"""Coefficients stored with the input's elements first mean what their dense form means."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lirpa_core.linear.coefficients import InputFirstCoefficients
from lirpa_testing import check_coefficients

B, S = 3, (2, 2)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("batch", [1, B])
def test_the_kit_finds_nothing_wrong(batch: int) -> None:
    check_coefficients(InputFirstCoefficients(draw(4, batch, 5), S))


@pytest.mark.parametrize("batch", [1, B])
def test_rows_are_elements_of_the_output(batch: int) -> None:
    images = draw(4, batch, 2, 3)
    A = InputFirstCoefficients(images, S)
    assert (A.rows, A.batch, A.shape) == (6, batch, S)
    x = draw(B, *S, seed=1)
    expected = torch.einsum("nbr,bn->rb", images.flatten(2).expand(-1, B, -1), x.flatten(1))
    torch.testing.assert_close(A.dot(x), expected)
    torch.testing.assert_close(torch.einsum("rbij,bij->rb", A.to_dense().expand(-1, B, -1, -1), x), expected)


def test_the_minimum_over_a_box_is_attained_at_a_corner_and_does_not_overflow() -> None:
    A = InputFirstCoefficients(draw(4, B, 3), S)
    low = draw(B, *S, seed=2)
    up = low + draw(B, *S, seed=3).abs()
    dense = A.to_dense()
    corner = torch.where(dense > 0, low, up)
    torch.testing.assert_close(A.split_dot(low, up), (dense * corner).sum((2, 3)))
    big = torch.full((1, *S), torch.finfo(torch.float64).max / 2, dtype=torch.float64)
    tiny = InputFirstCoefficients(torch.full((4, 1, 1), 1e-3, dtype=torch.float64), S)
    assert bool(tiny.split_dot(-big, big).isfinite().all())


@pytest.mark.parametrize("q", [1.0, 2.0, math.inf])
@pytest.mark.parametrize("weighted", [False, True])
def test_norms(q: float, weighted: bool) -> None:
    A = InputFirstCoefficients(draw(4, B, 3), S)
    weight = draw(B, *S, seed=4) if weighted else None
    dense = A.to_dense() if weight is None else A.to_dense() * weight
    torch.testing.assert_close(A.dual_norm(q, weight), torch.linalg.vector_norm(dense.flatten(2), q, dim=-1))


def test_negation_and_squeezing_keep_the_structure() -> None:
    A = InputFirstCoefficients(draw(4, B, 3), (2, 1, 2))
    assert isinstance(A.negate(), InputFirstCoefficients) and isinstance(A.squeeze(1), InputFirstCoefficients)
    torch.testing.assert_close(A.negate().to_dense(), -A.to_dense())
    torch.testing.assert_close(A.squeeze(1).to_dense(), A.to_dense().squeeze(3))
