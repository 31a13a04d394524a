"""Determinants, inverses and factors of perturbed matrices: their values, bounds that hold, and constants that stay whole."""

import pytest
import torch

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.capture.small_matrices import cholesky, determinant, inverse, power, triangular_inverse
from lirpa_core.errors import DomainError, UnsupportedOperatorError


def matrix(n):
    a = torch.randn(2, n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    return a @ a.mT + n * torch.eye(n)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_values_are_those_of_pytorch(n):
    A = matrix(n)
    torch.testing.assert_close(determinant(A), torch.linalg.det(A))
    torch.testing.assert_close(inverse(A), torch.linalg.inv(A))
    for upper in (False, True):  # neither reads the other triangle
        skew = A + (torch.ones_like(A).tril(-1) if upper else torch.ones_like(A).triu(1))
        torch.testing.assert_close(cholesky(skew, upper=upper), torch.linalg.cholesky(skew, upper=upper))
        one = torch.eye(n, dtype=A.dtype).expand_as(A)
        for unit in (False, True):
            torch.testing.assert_close(
                triangular_inverse(skew, upper=upper, unitriangular=unit),
                torch.linalg.solve_triangular(skew, one, upper=upper, unitriangular=unit),
            )
    for exponent in (-1, -2, -5):
        torch.testing.assert_close(power(A, exponent), torch.linalg.matrix_power(A, exponent))


@pytest.mark.parametrize(
    "function",
    [
        torch.linalg.inv,
        lambda A: torch.linalg.solve(A, A[..., 0] + 1),
        lambda A: torch.linalg.slogdet(A).logabsdet.unsqueeze(-1),
        lambda A: torch.logdet(A).unsqueeze(-1),
        torch.linalg.cholesky,
        lambda A: torch.linalg.solve_triangular(A, A[..., :2].exp(), upper=True),
        lambda A: torch.linalg.solve_triangular(A, torch.ones_like(A), upper=False, left=False),
        lambda A: torch.cholesky_solve(A[..., :1], torch.linalg.cholesky(A)),
        lambda A: torch.cholesky_solve(A[..., :1], torch.linalg.cholesky(A, upper=True), upper=True),
        lambda A: torch.linalg.matrix_power(A, -2),
    ],
    ids=[
        "inv",
        "solve",
        "slogdet",
        "logdet",
        "cholesky",
        "triangle",
        "triangle on the right",
        "factor",
        "upper factor",
        "power",
    ],
)  # fmt: skip
def test_bounds_hold(function):
    A, eps = matrix(3), 0.1
    bounded = BoundedModule(lambda x: function(x + x.mT), A / 2)
    noise = 2 * torch.rand(200, *A.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 1
    values = torch.stack([function(A + eps * (n + n.mT)) for n in torch.cat([noise, noise.sign()])])
    for method in ("IBP", "CROWN", "forward"):
        lower, upper = bounded.compute_bounds(
            x=(BoundedTensor(A / 2, PerturbationLpNorm(eps=eps)),), method=method
        )
        assert (lower <= values + 1e-12).all() and (values <= upper + 1e-12).all(), method


def test_a_matrix_that_may_be_singular_has_no_inverse():
    bounded = BoundedModule(torch.linalg.inv, matrix(2))
    with pytest.raises(DomainError):
        bounded.compute_bounds(x=(BoundedTensor(matrix(2), PerturbationLpNorm(eps=10.0)),), method="IBP")


def test_what_no_input_reaches_stays_whole():
    A = matrix(6)[0]
    graph = BoundedModule(lambda x: x @ torch.linalg.inv(A), torch.zeros(2, 6, dtype=torch.float64)).graph
    assert sum("inv" in str(node.target) for node in graph.nodes) == 1


def test_large_matrices_are_refused():
    with pytest.raises(UnsupportedOperatorError, match="linalg_inv"):
        BoundedModule(torch.linalg.inv, matrix(9)).compute_bounds(
            x=(BoundedTensor(matrix(9), PerturbationLpNorm(eps=0.1)),), method="IBP"
        )
