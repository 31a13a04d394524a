"""Coefficients through operators and relaxations: what a kernel gives is what the dense form gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lirpa_core.linear import Affine, Relaxation
from lirpa_core.linear.coefficients import Coefficients, DenseCoefficients, SelectedRows
from lirpa_core.linear.kernels import backpropagate, backpropagate_relaxation
from lirpa_core.linear.operators import Diagonal, LinearOp, MatrixOnTheRight

B, S = 3, (2, 4)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Table:
    """A dispatch table that has one kernel, and remembers what it was asked."""

    def __init__(self, kernel: Any = None) -> None:
        self.kernel, self.asked = kernel, []

    def find_kernel(self, op_key: object, structure_type: type[Coefficients]) -> Any:
        self.asked.append((op_key, structure_type))
        return self.kernel


LAYER = MatrixOnTheRight(draw(4, 3), S)
A = DenseCoefficients(draw(5, B, 2, 3, seed=1))


def test_without_a_kernel_coefficients_go_dense() -> None:
    rows = SelectedRows(torch.tensor([[0], [5]]), draw(2, 1, seed=2), (2, 3))
    table = Table()
    found = backpropagate(LAYER, rows, table)
    assert table.asked == [(LAYER.key, SelectedRows)]
    torch.testing.assert_close(found.to_dense(), LAYER.transpose(rows.to_dense()))


def test_a_kernel_goes_first_and_may_decline() -> None:
    made = DenseCoefficients(draw(5, B, *S, seed=3))
    assert backpropagate(LAYER, A, Table(lambda op, a: made)) is made
    declined = backpropagate(LAYER, A, Table(lambda op, a: None))
    torch.testing.assert_close(declined.to_dense(), LAYER.transpose(A.to_dense()))


def test_a_diagonal_needs_no_kernel() -> None:
    op, table = Diagonal(draw(B, 2, 3), (1, 3)), Table()
    found = backpropagate(op, A, table)
    assert not table.asked
    torch.testing.assert_close(found.to_dense(), (A.to_dense() * op.slope).sum(2, keepdim=True))


def sides(*, shared: bool) -> tuple[LinearOp, LinearOp]:
    low = Diagonal(draw(B, 2, 3, seed=4), (2, 3))
    return low, low if shared else Diagonal(draw(B, 2, 3, seed=5), (2, 3))


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("operands", [1, 2])
def test_positive_coefficients_take_the_lower_side_and_negative_ones_the_upper(
    shared: bool, operands: int
) -> None:
    low, up = sides(shared=shared)
    bias = draw(B, 2, 3, seed=6), draw(B, 2, 3, seed=7)
    relaxation = Relaxation(Affine((low,) * operands, bias[0]), Affine((up,) * operands, bias[1]))
    found, total = backpropagate_relaxation(relaxation, A, Table())
    positive, negative = A.to_dense().clamp(min=0), A.to_dense().clamp(max=0)
    assert isinstance(low, Diagonal) and isinstance(up, Diagonal)
    for coefficients in found:
        assert coefficients is not None
        torch.testing.assert_close(coefficients.to_dense(), positive * low.slope + negative * up.slope)
    torch.testing.assert_close(total, (positive * bias[0] + negative * bias[1]).sum((2, 3)))


def test_operators_of_two_kinds_are_split_by_sign() -> None:
    low, up = LAYER, MatrixOnTheRight(draw(4, 3, seed=8), S)
    found, total = backpropagate_relaxation(Relaxation(Affine((low,)), Affine((up,))), A, Table())
    dense = A.to_dense()
    expected = low.transpose(dense.clamp(min=0)) + up.transpose(dense.clamp(max=0))
    assert total is None and found[0] is not None
    torch.testing.assert_close(found[0].to_dense(), expected)


def test_a_side_without_an_operand_contributes_nothing() -> None:
    low, _ = sides(shared=True)
    found, _ = backpropagate_relaxation(Relaxation(Affine((low,)), Affine((None,))), A, Table())
    assert isinstance(low, Diagonal) and found[0] is not None
    torch.testing.assert_close(found[0].to_dense(), A.to_dense().clamp(min=0) * low.slope)
    nothing, _ = backpropagate_relaxation(Relaxation(Affine((None,)), Affine((None,))), A, Table())
    assert nothing == [None]
