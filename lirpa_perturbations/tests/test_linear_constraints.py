"""Linear constraints against vertices and an independent solver, and their refusals."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor

from lirpa_core.linear.coefficients import DenseCoefficients
from lirpa_perturbations import PerturbationLinearConstraints
from lirpa_perturbations.linear_program import bound
from lirpa_testing import check_perturbation


def vertices(A: Tensor, b: Tensor) -> Tensor:
    """Vertices of the polytope within the unit box, `[n, d]`."""
    d = A.shape[1]
    rows = torch.cat([A, torch.eye(d), -torch.eye(d)]).double()
    sides = torch.cat([b, torch.ones(d), torch.zeros(d)]).double()
    found = []
    for chosen in combinations(range(len(rows)), d):
        if rows[list(chosen)].det().abs() > 1e-9:
            z = torch.linalg.solve(rows[list(chosen)], sides[list(chosen)])
            if (rows @ z <= sides + 1e-9).all():
                found.append(z)
    return torch.stack(found)


def case(brute: Any, m: int, n: int, room: float = 0.1) -> tuple[Tensor, Tensor, Tensor]:
    A, x = brute.randn(m, n), brute.rand(3, n, seed=1)
    return A, (A @ x.T).amax(1) + room, x


@pytest.mark.parametrize("m", [1, 2, 4])
def test_is_the_minimum_over_the_vertices(brute: Any, m: int) -> None:
    A, b, x = case(brute, m, 3)
    ptb = PerturbationLinearConstraints(A, b)
    ptb.validate(x)
    C, corners = brute.randn(30, 3, 3, seed=2), vertices(A, b)
    least = torch.einsum("rbi,ni->rbn", C, corners).amin(-1)
    value = ptb.concretize(x, DenseCoefficients(C))
    assert (value <= least + 1e-12).all()
    torch.testing.assert_close(value, least, rtol=1e-12, atol=1e-12)
    assert ptb.contains(x, corners.unsqueeze(1).expand(-1, 3, -1)).all()
    hull = ptb.hull(x)
    assert (hull.lower <= corners.amin(0) + 1e-9).all()
    assert (hull.upper >= corners.amax(0) - 1e-9).all()


def test_is_what_an_independent_solver_finds(brute: Any) -> None:
    optimize = pytest.importorskip("scipy.optimize")
    A, b, x = case(brute, 8, 20)
    C = brute.randn(5, 3, 20, seed=2)
    value = PerturbationLinearConstraints(A, b).concretize(x, DenseCoefficients(C))
    for r in range(5):
        exact = optimize.linprog(C[r, 0].numpy(), A.numpy(), b.numpy(), bounds=[(0, 1)] * 20).fun
        assert value[r, 0].item() == pytest.approx(exact, abs=1e-9)


def test_any_multiplier_gives_a_lower_bound(brute: Any) -> None:
    A, b, _ = case(brute, 4, 3)
    corners = vertices(A, b)
    C, weights = brute.randn(50, 1, 3, seed=3), 3 * brute.rand(50, 1, 4, seed=4)
    centre = torch.full((3,), 0.5).double()
    value = bound(C / 2, A.unsqueeze(0) / 2, (b - A @ centre).unsqueeze(0), weights) + C @ centre
    assert (value[:, 0] <= (C[:, 0] @ corners.T).amin(1) + 1e-12).all()


def test_constraints_that_cut_nothing_and_zero_rows(brute: Any) -> None:
    x, A = brute.rand(2, 4), DenseCoefficients(brute.randn(5, 2, 4))
    ptb = PerturbationLinearConstraints(torch.tensor([[0.0] * 4, [1.0] * 4]), torch.tensor([0.0, 5.0]))
    check_perturbation(ptb, x)
    torch.testing.assert_close(ptb.concretize(x, A), A.split_dot(torch.zeros_like(x), torch.ones_like(x)))


def test_an_equation_fixes_the_sum() -> None:
    x = torch.full((1, 4), 0.25)
    ptb = PerturbationLinearConstraints(torch.tensor([[1.0] * 4, [-1.0] * 4]), torch.tensor([1.0, -1.0]))
    ptb.validate(x)
    ones = DenseCoefficients(torch.tensor([[[1.0, 1, 1, 1]], [[1.0, 2, 3, 4]], [[-1.0, -2, -3, -4]]]))
    assert ptb.concretize(x, ones).flatten().tolist() == pytest.approx([1, 1, -4], abs=1e-6)


def test_attacks_stay_inside(brute: Any) -> None:
    A, b, x = case(brute, 3, 12)
    brute.assert_attacks_stay_inside(PerturbationLinearConstraints(A, b, iterations=2), x)


def test_examples_need_not_come_first(brute: Any) -> None:
    A, x = brute.randn(2, 3, 4), brute.rand(4, 3)  # x has its examples last
    moved = PerturbationLinearConstraints(A.movedim(2, 1), (A * x.T).sum(1) + 0.1).aligned(1, 2)
    check_perturbation(PerturbationLinearConstraints(A[:, :, :1], torch.ones(2)).aligned(1, 2), x * 0)
    assert moved.A.shape == (2, 3, 4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"A": 1.0}, "A must be a tensor with at least one constraint"),
        ({"A": torch.zeros(0, 3)}, "A must be a tensor with at least one constraint"),
        ({"A": torch.ones(1, 3).long()}, "A has dtype"),
        ({"A": torch.ones(2, 3)}, "b must be [m] or [m, B]"),
        ({"A": torch.ones(1, 4)}, "A has shape [1, 4]"),
        ({"b": torch.full((1,), torch.nan)}, "b must be finite"),
        ({"b": torch.ones(1, 5)}, "b has 5 columns for 2 examples"),
        ({"b": torch.tensor([-0.1])}, "A z ≤ b is infeasible"),
        (
            {"A": torch.tensor([[1.0, 1, 0], [-1.0, -1, 0]]), "b": torch.tensor([0.4, -0.6])},
            "A z ≤ b is infeasible",
        ),
        ({"b": torch.tensor([1.0])}, "the nominal value violates A z ≤ b: constraint 0, example 0, by 0.5"),
        ({"x_U": 0.2}, "lies outside the box"),
        ({"iterations": 0}, "iterations must be a whole number"),
    ],
)
def test_refusals_name_the_argument(brute: Any, options: dict[str, Any], words: str) -> None:
    arguments = {"A": torch.ones(1, 3), "b": torch.full((1,), 2.0)} | options
    x = torch.full((2, 3), 0.5)
    brute.refuses(words, lambda: PerturbationLinearConstraints(**arguments).validate(x))


def test_repr_shows_the_arguments() -> None:
    ptb = PerturbationLinearConstraints(torch.ones(1, 3), torch.ones(1))
    assert repr(ptb) == "PerturbationLinearConstraints(1 constraints, x_L=0, x_U=1)"
