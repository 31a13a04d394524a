"""The minimum of a linear form over a ball cut with a box, against projected gradient and known cases."""

from __future__ import annotations

import math

import pytest
import torch

from lirpa_core import PerturbationLpNorm
from lirpa_core.linear.coefficients import DenseCoefficients
from lirpa_core.perturbations.ball_box import dual_exponent
from lirpa_testing import check_perturbation


@pytest.mark.parametrize(("p", "q"), [(1.0, math.inf), (2.0, 2.0), (math.inf, 1.0), (4.0, 4 / 3)])
def test_dual_exponents(p: float, q: float) -> None:
    assert dual_exponent(p) == pytest.approx(q)


@pytest.mark.parametrize("norm", [1.0, 1.5, 2.0, 5.0])
def test_balls_cut_by_boxes_are_what_their_members_say(norm: float) -> None:
    x = torch.rand(3, 4, dtype=torch.float64)
    ptb = PerturbationLpNorm(norm=norm, eps=0.6, x_L=torch.zeros(4).double(), x_U=torch.ones(4).double())
    check_perturbation(ptb, x, profile="fast")


@pytest.mark.parametrize("norm", [1.0, 2.0, 3.0])
def test_a_box_that_does_not_cut_changes_nothing(norm: float) -> None:
    x = torch.zeros(2, 4, dtype=torch.float64)
    A = DenseCoefficients(
        torch.randn(5, 1, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    )
    far = torch.full((4,), 9.0, dtype=torch.float64)
    cut = PerturbationLpNorm(norm=norm, eps=0.5, x_L=-far, x_U=far).concretize(x, A)
    torch.testing.assert_close(
        cut, PerturbationLpNorm(norm=norm, eps=0.5).concretize(x, A), rtol=1e-9, atol=1e-9
    )
