"""Forward bounds: rows over the output are bounded by the forms that were carried there."""

from __future__ import annotations

from typing import Any

import torch

from lirpa_core.linear.coefficients import DenseCoefficients
from lirpa_core.methods import IBP, Forward


def test_rows_are_bounded_by_forms_and_tighter_than_by_intervals(setting: Any) -> None:
    problem, node = setting.problem, setting.node
    C = torch.tensor([[1.0, -1.0], [1.0, 1.0]], dtype=torch.float64).reshape(2, 1, 1, 2)
    widths = []
    for method in (Forward(), IBP()):
        inner = method.intermediate_bounds(problem, wanted=(node,))
        found = method.bound_rows(problem, node, inner, DenseCoefficients(C))
        y = torch.einsum("rk,nbk->nrb", C.reshape(2, 2), setting.outputs)
        assert bool((found.lower <= y + 1e-9).all()) and bool((y <= found.upper + 1e-9).all())
        widths.append(float((found.upper - found.lower).detach().sum()))
    assert widths[0] < widths[1]


def test_forms_are_kept_only_where_they_are_wanted(setting: Any) -> None:
    problem, node = setting.problem, setting.node
    assert set(Forward().intermediate_bounds(problem, wanted=(node,)).affine) == {node}
    lean = Forward(keep_affine=False).intermediate_bounds(problem, wanted=(node,))
    assert not lean.affine and node in lean.intervals
