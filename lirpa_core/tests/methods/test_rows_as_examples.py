"""Each row of each example as an example of its own: the same bounds."""

from __future__ import annotations

from typing import Any

import torch

from lirpa_core.linear.coefficients import DenseCoefficients, SelectedRows
from lirpa_core.methods import Relaxations, backward, intervals
from lirpa_core.methods.rows_as_examples import fold_intervals, fold_problem, fold_rows, unfold_form


def test_forms_of_folded_rows_are_those_of_the_rows(setting: Any) -> None:
    problem, node = setting.problem, setting.node
    C = DenseCoefficients(
        torch.randn(3, 4, 1, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    )
    found = intervals(problem)
    plain = backward(problem, node, C, Relaxations(problem, found))
    folded = fold_problem(problem, 3)
    assert folded.batch == 12
    inside = fold_intervals(problem, found, frozenset(problem.calls), 3)
    form = backward(folded, node, fold_rows(C, 4), Relaxations(folded, inside))
    back = unfold_form(form, 3)
    torch.testing.assert_close(back.bias.expand(3, 4), plain.bias.expand(3, 4))
    for name, A in plain.coefficients.items():
        torch.testing.assert_close(back.coefficients[name].to_dense(), A.to_dense())


def test_selected_rows_stay_selected() -> None:
    rows = SelectedRows(torch.tensor([[0], [3]]), torch.tensor([[1.0], [2.0]]), (2, 2))
    folded = fold_rows(rows, 3)
    assert isinstance(folded, SelectedRows) and (folded.rows, folded.batch) == (1, 6)
    expected = rows.to_dense().expand(2, 3, 2, 2).reshape(1, 6, 2, 2)
    torch.testing.assert_close(folded.to_dense(), expected)
