"""A specification matrix becomes rows, and one that does not fit is refused with what is expected."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedTensor, PerturbationLpNorm, functional
from lirpa_core.errors import SpecificationError


def setting() -> tuple[functional.Problem, str, nn.Module, Tensor]:
    model, x = (
        nn.Sequential(nn.Linear(3, 6), nn.Unflatten(1, (2, 3))).double().eval(),
        torch.randn(4, 3).double(),
    )
    problem = functional.bind(functional.capture(model, x), BoundedTensor(x, PerturbationLpNorm(eps=0.2)))
    (node,) = functional.output_names(problem)
    return problem, node, model, x


@pytest.mark.parametrize("shape", [(4, 5, 6), (4, 5, 2, 3), (1, 5, 6)])
def test_rows_are_what_the_matrix_says(shape: tuple[int, ...]) -> None:
    problem, node, model, x = setting()
    C = torch.randn(shape, dtype=torch.float64)
    rows = functional.specification_rows(problem, problem.graph[node], C)
    y = model(x)
    expected = torch.einsum("bkn,bn->kb", C.reshape(shape[0], 5, 6).expand(4, -1, -1), y.flatten(1))
    torch.testing.assert_close(rows.dot(y.reshape(4, *problem.shape(node))), expected)


@pytest.mark.parametrize(
    ("C", "says"),
    [
        (torch.zeros(5, 6).double(), r"expected|\[4, K, 6\]"),
        ([[1, 2]], "C must be a tensor .*; got list"),
        (torch.zeros(4, 5, 7).double(), r"\[4, K, 6\]"),
        (torch.zeros(3, 5, 6).double(), r"\[4, K, 6\]"),
        (torch.zeros(4, 5, 6), "dtype torch.float32"),
        (torch.full((4, 5, 6), torch.nan).double(), "NaN or infinite"),
        (torch.full((4, 5, 6), torch.inf).double(), "NaN or infinite"),
    ],
)
def test_what_does_not_fit_is_refused(C: Tensor, says: str) -> None:
    problem, node, *_ = setting()
    with pytest.raises(SpecificationError, match=says):
        functional.specification_rows(problem, problem.graph[node], C)
