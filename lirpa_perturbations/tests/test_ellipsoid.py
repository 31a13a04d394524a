"""Ellipsoids: known values, the kit, and their refusals."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor

from lirpa_core import PerturbationLpNorm
from lirpa_core.errors import PerturbationError
from lirpa_core.linear.coefficients import DenseCoefficients
from lirpa_perturbations import PerturbationEllipsoid


def covariance(brute: Any, *shape: int) -> Tensor:
    factor = brute.randn(*shape)
    return factor @ factor.mT + 0.01 * torch.eye(shape[-1])


def test_the_identity_is_a_ball(brute: Any) -> None:
    x, A = brute.randn(3, 6), DenseCoefficients(brute.randn(5, 3, 6))
    ball = PerturbationLpNorm(eps=0.4, norm=2).concretize(x, A)
    torch.testing.assert_close(PerturbationEllipsoid(torch.eye(6), 0.4).concretize(x, A), ball)


def test_axes_by_hand() -> None:
    x, A = torch.zeros(1, 2), DenseCoefficients(torch.tensor([[[1.0, 0.0]], [[3.0, 4.0]]]))
    ptb = PerturbationEllipsoid(torch.diag(torch.tensor([4.0, 0.25])), 0.5)
    assert ptb.concretize(x, A).flatten().tolist() == pytest.approx([-1.0, -0.5 * (36 + 4) ** 0.5])
    upper = ptb.hull(x).upper
    torch.testing.assert_close(upper, torch.tensor([[1.0, 0.25]]))
    assert bool((upper >= torch.tensor([[1.0, 0.25]])).all())


def test_attacks_stay_inside(brute: Any) -> None:
    brute.assert_attacks_stay_inside(
        PerturbationEllipsoid(covariance(brute, 12, 12), 0.1), brute.randn(2, 12)
    )


def test_a_radius_that_became_negative_in_place_is_refused() -> None:
    eps, x = torch.tensor(0.1), torch.zeros(1, 3)
    ptb = PerturbationEllipsoid(torch.eye(3), eps)
    ptb.validate(x)
    eps.sub_(1)
    with pytest.raises(PerturbationError, match="eps must be finite, not negative"):
        ptb.validate(x)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"eps": -1.0}, "eps must be finite, not negative"),
        ({"eps": None}, "eps must be finite, not negative"),
        ({"eps": torch.zeros(3)}, "eps has 3 elements for 2 examples"),
        ({"covariance": 1.0}, "covariance must be a tensor"),
        ({"covariance": torch.zeros(3, 2)}, "covariance must be a tensor [n, n]"),
        ({"covariance": torch.eye(4)}, "covariance has shape [4, 4]"),
        ({"covariance": torch.zeros(3, 3)}, "covariance must be positive definite"),
        ({"covariance": -torch.eye(3)}, "covariance must be positive definite"),
        ({"covariance": torch.ones(3, 3).triu()}, "covariance must be symmetric"),
        ({"covariance": torch.full((3, 3), torch.nan)}, "covariance must be finite"),
    ],
)
def test_refusals_name_the_argument(brute: Any, options: dict[str, Any], words: str) -> None:
    arguments = {"covariance": torch.eye(3)} | options
    brute.refuses(words, lambda: PerturbationEllipsoid(**arguments).validate(torch.zeros(2, 3)))


def test_repr_shows_the_arguments() -> None:
    assert repr(PerturbationEllipsoid(torch.eye(3))) == "PerturbationEllipsoid(covariance=[3, 3], eps=1)"


@pytest.mark.parametrize("scale", [3e38, 1.3e-38])
def test_a_covariance_of_any_scale_is_taken_as_it_is(scale: float) -> None:
    x, covariance = torch.zeros(1, 2), torch.eye(2) * scale
    ptb = PerturbationEllipsoid(covariance, 1.0)
    ptb.validate(x)
    deviation = covariance[0, 0].double().sqrt().float()
    torch.testing.assert_close(ptb.hull(x).upper, deviation.expand(1, 2), atol=0, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_direction_in_which_the_set_is_flat_has_its_spread(dtype: torch.dtype) -> None:
    """The Cholesky factor is that of a covariance off by rounding, which may be all that there is in a direction."""
    generator = torch.Generator().manual_seed(0)
    u, x = torch.finfo(dtype).eps, torch.zeros(1, 4, dtype=dtype)
    for flat in (4.0, 64.0, 1024.0):
        for _ in range(20):
            factor = torch.randn(4, 3, generator=generator, dtype=torch.float64)
            matrix = factor @ factor.mT
            matrix = (matrix + flat * u * matrix.diagonal().mean() * torch.eye(4)).to(dtype)
            matrix = matrix.tril() + matrix.tril(-1).mT
            a = torch.linalg.eigh(matrix.double())[1][:, :2].T.to(dtype)  # the flat one, and another
            try:
                PerturbationEllipsoid(matrix, 1.0).validate(x)
            except PerturbationError:
                continue  # no longer positive definite
            value = PerturbationEllipsoid(matrix, 1.0).concretize(x, DenseCoefficients(a.unsqueeze(1)))
            for row, found in zip(a.tolist(), value.flatten().tolist(), strict=True):
                cells = ((i, j) for i in range(4) for j in range(4))
                square = sum(
                    Fraction(row[i]) * Fraction(matrix[i, j].item()) * Fraction(row[j]) for i, j in cells
                )
                assert Fraction(found) ** 2 >= square
