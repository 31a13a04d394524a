"""Nearest points of polytopes: `z` is nearest to `v` if it minimises `(z - v)·y` over the set."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lirpa_core.linear.coefficients import DenseCoefficients
from lirpa_perturbations import PerturbationLinearConstraints


@pytest.mark.parametrize("m", [1, 5])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("distance", [0.5, 1e3, 1e6])
def test_is_the_nearest_point(brute: Any, m: int, whole: bool, distance: float) -> None:
    A, x = brute.randn(m, 6), brute.rand(3, 6, seed=1)
    A = A.round() if whole else A  # corners at which many constraints meet
    ptb = PerturbationLinearConstraints(A, A @ x.T + 0.1)
    v = x + distance * brute.randn(40, 3, 6, seed=2)
    z = ptb.project(x, v)
    assert ptb.contains(x, z).all()
    forms = (z - v) / (z - v).norm(dim=-1, keepdim=True).clamp(min=1e-300)
    excess = (forms * z).sum(-1) - ptb.concretize(x, DenseCoefficients(forms))
    assert (excess.abs() <= 1e-13 * (10 + distance)).all()


def test_an_equation_is_met() -> None:
    ones, x = torch.ones(1, 4).double(), torch.full((1, 4), 0.25).double()
    ptb = PerturbationLinearConstraints(torch.cat([ones, -ones]), torch.tensor([1.0, -1.0]).double())
    z = ptb.project(x, torch.tensor([[[0.5, 0.5, 0.5, 0.1]], [[9.0, 0, 0, 0]]]).double())
    assert z[0, 0].tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])
    assert z[1, 0].tolist() == pytest.approx([1, 0, 0, 0])
