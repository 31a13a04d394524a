"""Systems with a constant matrix have the values of PyTorch's solvers, and are linear in the right-hand side."""

import pytest
import torch

from lirpa_core.operators.linear_systems import cholesky_solve, solve, solve_triangular


def rand(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).double()


def matrix(*batch):
    a = rand(*batch, 4, 4)
    return a @ a.mT + 4 * torch.eye(4).double()


@pytest.mark.parametrize(
    ("a", "b", "left"),
    [
        (matrix(), rand(4), True),
        (matrix(), rand(4, 2), True),
        (matrix(), rand(3, 4, 2), True),
        (matrix(3), rand(3, 4), True),
        (matrix(3), rand(4, 2), True),
        (matrix(), rand(2, 4), False),
        (matrix(3), rand(3, 2, 4), False),
    ],
)
def test_solve(a, b, left):
    torch.testing.assert_close(solve(a, b, left=left), torch.linalg.solve(a, b, left=left))


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("unit", [False, True])
def test_solve_triangular(upper, left, unit):
    a, b = matrix() / 4, rand(4, 4)
    options = {"upper": upper, "left": left, "unitriangular": unit}
    torch.testing.assert_close(
        solve_triangular(a, b, **options), torch.linalg.solve_triangular(a, b, **options)
    )


@pytest.mark.parametrize("upper", [False, True])
def test_cholesky_solve(upper):
    factor, b = torch.linalg.cholesky(matrix(), upper=upper), rand(4, 2)
    torch.testing.assert_close(cholesky_solve(b, factor, upper), torch.cholesky_solve(b, factor, upper=upper))
