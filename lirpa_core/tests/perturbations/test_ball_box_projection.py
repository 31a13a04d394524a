"""Nearest points of balls in boxes: `z` is nearest to `v` if it minimises `(z - v)·y` over the set."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lirpa_core.linear.coefficients import DenseCoefficients
from lirpa_core.perturbations import PerturbationLpNorm

F64 = torch.float64
NORMS = [1, 1.05, 1.5, 2, 3, 5, 50]


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("p", NORMS)
@pytest.mark.parametrize("box", [False, True])
@pytest.mark.parametrize("distance", [0.5, 1e3, 1e7])
def test_is_the_nearest_point(p: float, box: bool, distance: float) -> None:
    x = torch.rand(3, 6, dtype=F64, generator=torch.Generator().manual_seed(1))
    x[0, :2] = 0
    options: dict[str, Any] = {"x_L": 0.0, "x_U": 1.0} if box else {}
    ptb = PerturbationLpNorm(torch.tensor([0.0, 0.4, 1.5]), p, **options)
    v = x + distance * randn(60, 3, 6)
    v[:10, :, :3] = x[:, :3] + 1e-9 * randn(10, 3, 3, seed=2)  # sizes that differ much
    v[10] = x
    z = ptb.project(x, v)
    assert ptb.contains(x, z).all()
    A = (z - v) / (z - v).norm(dim=-1, keepdim=True).clamp(min=1e-300)
    excess = (A * z).sum(-1) - ptb.concretize(x, DenseCoefficients(A))
    assert (excess.abs() <= 1e-13 * (10 + distance)).all()


@pytest.mark.parametrize("p", NORMS)
def test_members_stay_where_they_are(p: float) -> None:
    x = torch.zeros(1, 4, dtype=F64)
    ptb = PerturbationLpNorm(1.0, p, x_L=-0.5)
    inside = torch.tensor([[[0.0, 0, 0, 0]], [[0.2, -0.2, 0.2, 0.2]], [[0.9, 0, 0, 0]]], dtype=F64)
    assert torch.equal(ptb.project(x, inside), inside)
    assert ptb.project(x, inside).data_ptr() != inside.data_ptr()


def test_known_points() -> None:
    x, v = torch.zeros(1, 3, dtype=F64), torch.tensor([[[3.0, -1.0, 0.5]]], dtype=F64)
    for p, expected in ((1, [1.0, 0.0, 0.0]), (2, (v / v.norm()).flatten().tolist())):
        assert PerturbationLpNorm(1.0, p).project(x, v).flatten().tolist() == pytest.approx(expected)
    # the wall takes 0.6 of the radius, and the others keep their proportion in what is left of it
    walled = PerturbationLpNorm(1.0, 2, x_U=0.6).project(x, v).flatten().tolist()
    assert walled == pytest.approx([0.6, -0.8 / 1.25**0.5, 0.4 / 1.25**0.5])
    assert PerturbationLpNorm(1.0, 1, x_U=0.6).project(x, v).flatten().tolist() == pytest.approx(
        [0.6, -0.4, 0]
    )
