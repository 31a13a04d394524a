"""Infinities of affine functions: sums of infinities, kept apart from numbers, in every structure."""

import math

import pytest
import torch

from lirpa_core.linear.coefficients import DenseCoefficients, PositionwiseCoefficients, SelectedRows
from lirpa_core.linear.infinite import apply_infinite, separated, split_dot, split_dot_infinite
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import Diagonal

INF = math.inf
A = torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, -1.0, 0.0]])
MASK = torch.tensor([[-INF, -INF, 0.0]])


def same(found, expected):
    torch.testing.assert_close(found, torch.tensor(expected), equal_nan=True)


def test_a_bias_is_its_numbers_and_its_infinities():
    bias = torch.tensor([[1.0, -INF, INF]], requires_grad=True)
    numbers, infinite = separated(bias, True)
    assert numbers.tolist() == [[1.0, 0.0, 0.0]] and infinite.tolist() == [[0.0, -INF, INF]]
    assert numbers.requires_grad and not infinite.requires_grad
    assert separated(bias, False) == (bias, None) and separated(None, True) == (None, None)


def test_zero_times_infinity_is_zero_and_a_difference_of_infinities_is_not_a_number():
    same(
        split_dot_infinite(DenseCoefficients(A[:, None]), MASK, MASK)[:, 0], [-INF, 0.0, INF, -INF, math.nan]
    )


def test_not_a_number_matters_unless_its_coefficient_is_zero():
    bias = separated(torch.tensor([[0.0, math.nan, 1.0]]), True)[1]
    same(
        split_dot_infinite(DenseCoefficients(A[:, None]), bias, bias)[:, 0],
        [0.0, 0.0, 0.0, math.nan, math.nan],
    )
    for found in apply_infinite(Diagonal(torch.tensor([[0.0, 0.0, 1.0]]), (3,)), bias, bias):
        same(found, [[0.0, 0.0, 0.0]])
    for found in apply_infinite(Diagonal(torch.tensor([[0.0, -1.0, 1.0]]), (3,)), bias, bias):
        same(found, [[0.0, math.nan, 0.0]])


def test_each_sign_of_a_coefficient_meets_its_own_side():
    rows = DenseCoefficients(A[:, None])
    same(split_dot_infinite(rows, MASK, None)[:, 0], [-INF, 0.0, 0.0, -INF, -INF])
    same(split_dot_infinite(rows, None, MASK)[:, 0], [0.0, 0.0, INF, 0.0, INF])
    assert split_dot_infinite(rows, None, None) is None


@pytest.mark.parametrize("seed", range(5))
def test_every_structure_says_what_its_dense_form_says(seed):
    generator = torch.Generator().manual_seed(seed)
    index, values = torch.randint(6, (7, 2), generator=generator), torch.randn(7, 1, generator=generator)
    weight = torch.randint(-1, 2, (3, 4), generator=generator).float()
    lower = torch.tensor([-INF, 0.0, INF])[torch.randint(3, (2, 2, 4), generator=generator)]
    positions = PositionwiseCoefficients.of_matrix(SelectedRows(index, values, (2, 3)), weight, (2, 4))
    rows = SelectedRows(index, values, (2, 4))
    for structured in (rows, positions):
        found, dense = (split_dot_infinite(S, lower, lower) for S in (structured, structured.dense()))
        torch.testing.assert_close(found, dense, equal_nan=True)


def test_the_minimum_over_a_box_with_infinite_ends():
    box = Interval(torch.tensor([[-INF, 0.0, -1.0]]), torch.tensor([[3.0, INF, 1.0]]))
    same(split_dot(DenseCoefficients(A[:, None]), box, True)[:, 0], [-INF, -1.0, -3.0, -INF, -INF])


def test_operators_carry_infinities_forward():
    op = Diagonal(torch.tensor([[2.0, 0.0, -1.0]]), (3,))
    low, up = apply_infinite(op, torch.tensor([[-INF, -INF, -INF]]), torch.tensor([[0.0, INF, -INF]]))
    same(low, [[-INF, 0.0, INF]])
    same(up, [[0.0, 0.0, INF]])
    assert apply_infinite(op, None, None) == (None, None)
