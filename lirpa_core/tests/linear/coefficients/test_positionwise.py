"""Positionwise rows: one position, and a row of a matrix that all positions share."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lirpa_core import BoundedTensor, PerturbationLpNorm, functional
from lirpa_core.linear.coefficients import PositionwiseCoefficients, SelectedRows
from lirpa_testing import check_coefficients


def made(factor: bool) -> PositionwiseCoefficients:
    generator = torch.Generator().manual_seed(0)
    index = torch.randint(6, (4, 1), generator=generator)
    values = torch.randn(4, 1, generator=generator, dtype=torch.float64)
    matrix = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    scale = torch.randn(2, 2, 5, generator=generator, dtype=torch.float64) if factor else None
    return PositionwiseCoefficients(
        SelectedRows(index, values, (2, 3)), matrix, torch.tensor([0, 2]), scale, (3, 5)
    )


@pytest.mark.parametrize("factor", [False, True])
def test_the_kit_finds_nothing_wrong(factor: bool) -> None:
    check_coefficients(made(factor))


def test_rows_read_their_own_position_only() -> None:
    dense = made(False).to_dense()
    assert dense.shape == (4, 1, 3, 5)
    assert bool((dense[:, :, 1] == 0).all())
    assert bool(((dense != 0).any(-1).sum(-1) == 1).all())


def test_a_linear_layer_over_tokens_makes_them_and_bounds_are_those_of_the_dense_rows() -> None:
    model, x = nn.Linear(4, 3).double().eval(), torch.randn(2, 5, 4, dtype=torch.float64)
    problem = functional.bind(
        functional.capture(model, x), BoundedTensor(x, PerturbationLpNorm(norm=2, eps=0.5))
    )
    (node,) = functional.output_names(problem)
    rows = SelectedRows.identity(problem.shape(node), dtype=torch.float64, device="cpu")
    relaxations = functional.Relaxations(problem, functional.intervals(problem))
    forms = [functional.backward(problem, node, r, relaxations) for r in (rows, rows.dense())]
    kinds = [type(A) for form in forms for A in form.coefficients.values()]
    assert kinds[0] is PositionwiseCoefficients and kinds[1] is not PositionwiseCoefficients
    torch.testing.assert_close(*(functional.concretize(problem, form) for form in forms))
