"""Affine images of other sets."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Any

import pytest
import torch

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.linear.coefficients import DenseCoefficients
from lirpa_perturbations import PerturbationAffine, PerturbationL0Norm


def test_is_the_minimum_over_every_corner(brute: Any) -> None:
    x, basis, centre = brute.randn(2, 4), brute.randn(3, 2, 4, seed=1), brute.randn(2, 3, seed=2)
    corners = torch.tensor(list(product((-0.3, 0.3), repeat=3)), dtype=torch.float64)
    members = x + torch.einsum("np,pbi->nbi", corners, basis)
    brute.assert_minimum(PerturbationAffine(PerturbationLpNorm(eps=0.3), basis, centre), x, members)


def test_the_identity_changes_nothing(brute: Any) -> None:
    x, A = brute.randn(2, 4), DenseCoefficients(brute.randn(5, 2, 4))
    ball = PerturbationLpNorm(eps=0.3, norm=2)
    same = PerturbationAffine(ball, torch.eye(4).unsqueeze(1), x)
    torch.testing.assert_close(same.concretize(x, A), ball.concretize(x, A))


def test_bounds_are_those_of_the_model_behind_an_affine_layer(brute: Any) -> None:
    model, bounded = brute.model_of((12,))
    basis, w = brute.randn(3, 12), torch.zeros(1, 3).double()
    first = torch.nn.Linear(3, 12).double()
    with torch.no_grad():
        first.weight.copy_(basis.T)
    ptb = PerturbationLpNorm(eps=0.1, norm=2)
    behind = BoundedModule(torch.nn.Sequential(first, model), w)
    for method in ("CROWN-IBP", "CROWN"):
        expected = behind.compute_bounds(x=(BoundedTensor(w, ptb),), method=method)
        x = BoundedTensor(first(w).detach(), PerturbationAffine(ptb, basis))
        torch.testing.assert_close(bounded.compute_bounds(x=(x,), method=method).lower, expected.lower)


def test_attacks_stay_inside(brute: Any) -> None:
    ptb = PerturbationAffine(PerturbationLpNorm(eps=0.5, norm=2), brute.randn(3, 12))
    brute.assert_attacks_stay_inside(ptb, brute.randn(2, 12))


def test_examples_need_not_come_first(brute: Any) -> None:
    x, basis = brute.randn(2, 3, 4), brute.randn(5, 3, 2, 4)
    moved = PerturbationAffine(PerturbationLpNorm(eps=0.3), basis).aligned(1, 3)
    first = PerturbationAffine(PerturbationLpNorm(eps=0.3), basis.movedim(2, 1))
    torch.testing.assert_close(moved.hull(x).lower, first.hull(x).lower)
    alone = PerturbationAffine(PerturbationLpNorm(eps=0.3), basis[:, :, 0]).aligned(None, 2)
    torch.testing.assert_close(alone.hull(x[:1]).lower, first.hull(x).lower[:1])


BALL = PerturbationLpNorm(eps=0.1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((1, torch.zeros(1, 4)), "base must be a Perturbation"),
        ((BALL, torch.tensor(1.0)), "basis must be a tensor [P, ...]"),
        ((BALL, torch.zeros(0, 4)), "basis must be a tensor [P, ...]"),
        ((BALL, torch.zeros(1, 4).long()), "basis has dtype"),
        ((BALL, torch.zeros(1, 5)), "basis has shape [1, 1, 5]"),
        ((BALL, torch.zeros(1, 1, 2, 4)), "basis has shape [1, 1, 2, 4]"),
        ((BALL, torch.zeros(1, 4), torch.zeros(2)), "centre has shape [2], but basis has 1"),
        ((BALL, torch.zeros(1, 4), torch.zeros(3, 1)), "centre has 3 rows for 2 examples"),
        ((PerturbationL0Norm(2), torch.zeros(1, 4)), "base: eps is 2, but there are only 1"),
    ],
)
def test_refusals_name_the_argument(brute: Any, arguments: Any, words: str) -> None:
    brute.refuses(words, lambda: PerturbationAffine(*arguments).aligned(0, 2).validate(torch.zeros(2, 4)))


def test_repr_shows_the_arguments() -> None:
    assert repr(PerturbationAffine(BALL, torch.zeros(1, 4))) == (
        "PerturbationAffine(PerturbationLpNorm(norm=inf, eps=0.1), basis=[1, 4])"
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ends_hold_where_the_set_nearly_cancels_the_value(dtype: torch.dtype) -> None:
    """`x + Σ basis · w` may be far smaller than its terms, and so may what rounding leaves of it be wrong."""
    generator = torch.Generator().manual_seed(0)
    for centre in (None, 1e6):
        basis = torch.randn(3, 40, generator=generator, dtype=dtype)
        eps = 0.7
        near = eps * basis.abs().sum(0) * (1 + 1e-3 * torch.randn(40, generator=generator, dtype=dtype))
        x = near.unsqueeze(0)
        middle = None if centre is None else torch.full((3,), centre, dtype=dtype)
        ptb = PerturbationAffine(PerturbationLpNorm(eps=eps), basis, middle)
        hull = ptb.hull(x)
        rows = DenseCoefficients(torch.eye(40, dtype=dtype).unsqueeze(1))
        least = ptb.concretize(x, rows).flatten()
        radius = Fraction(torch.tensor(eps, dtype=dtype).item())
        for i in range(40):
            reach = radius * sum(abs(Fraction(v)) for v in basis[:, i].tolist())
            low, up = Fraction(x[0, i].item()) - reach, Fraction(x[0, i].item()) + reach
            assert Fraction(hull.upper[0, i].item()) >= up * (1 - 2 * Fraction(torch.finfo(dtype).eps))
            for found in (hull.lower[0, i].item(), least[i].item()):
                assert Fraction(found) <= low + 2 * Fraction(torch.finfo(dtype).eps) * abs(low)
