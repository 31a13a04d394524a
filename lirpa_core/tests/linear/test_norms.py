"""Norms are those of exact arithmetic, also where powers overflow or underflow."""

from __future__ import annotations

import math

import pytest
import torch

from lirpa_core.linear import scaled_norm


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 7.0, math.inf])
def test_it_is_the_norm(p: float) -> None:
    x = torch.tensor([[3.0, -4.0, 0.5], [0.0, 0.0, 0.0]], dtype=torch.float64)
    expected = [
        max(map(abs, row)) if p == math.inf else sum(abs(v) ** p for v in row) ** (1 / p)
        for row in x.tolist()
    ]
    torch.testing.assert_close(scaled_norm(x, p), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.parametrize("p", [2.0, 50.0])
def test_it_scales_with_its_argument(scale: float, p: float) -> None:
    x = torch.tensor([1.0, 2.0, -3.0])
    torch.testing.assert_close(scaled_norm(x * scale, p), scaled_norm(x, p) * scale)


def test_infinite_elements_have_an_infinite_norm() -> None:
    assert float(scaled_norm(torch.tensor([1.0, -math.inf]), 2.0)) == math.inf


def test_its_gradient_is_finite_at_zero() -> None:
    x = torch.zeros(3, requires_grad=True)
    scaled_norm(x, 2.0).backward()
    assert x.grad is not None and bool(x.grad.isfinite().all())
