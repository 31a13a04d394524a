"""Clipping never takes a point that the linear bounds allow, and takes what it can."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from lirpa_verify.bounding import LinearBounds
from lirpa_verify.search.clipping import clip


@given(seed=st.integers(0, 10**6), rows=st.integers(1, 4), inputs=st.integers(1, 4))
def test_no_allowed_point_is_taken(seed: int, rows: int, inputs: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    batch = 5

    def drawn(*shape: int) -> torch.Tensor:
        values = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return torch.where(torch.rand(*shape, generator=generator) < 0.2, 0.0, values)

    center, radius = drawn(batch, inputs), drawn(batch, inputs).abs()
    A, bias = drawn(batch, rows, inputs), drawn(batch, rows)
    lower, upper = center - radius, center + radius
    a, b, empty = clip(lower, upper, LinearBounds(bias, A, bias), torch.ones(rows, dtype=torch.bool))
    points = lower + (upper - lower) * torch.rand(
        2000, batch, inputs, generator=generator, dtype=torch.float64
    )
    points = torch.cat([points, lower.unsqueeze(0), upper.unsqueeze(0)])
    values = torch.einsum("brn,pbn->pbr", A, points) + bias
    allowed = (values <= 0).all(2)  # [P, B]
    kept = (points >= a).all(2) & (points <= b).all(2) & ~empty
    assert bool((kept | ~allowed).all())
    assert bool((a[~empty] >= lower[~empty]).all() and (b[~empty] <= upper[~empty]).all())


def test_the_edge_of_a_single_row_is_exact() -> None:
    lower, upper = -torch.ones(1, 2, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64)
    # x₀ + x₁ + 1.5 ≤ 0 leaves x₀, x₁ ≤ −0.5.
    bounds = LinearBounds(
        torch.zeros(1, 1), torch.ones(1, 1, 2, dtype=torch.float64), torch.full((1, 1), 1.5).double()
    )
    a, b, empty = clip(lower, upper, bounds, torch.ones(1, dtype=torch.bool))
    assert a.tolist() == [[-1, -1]]
    assert not bool(empty)
    assert torch.allclose(b, torch.full((1, 2), -0.5, dtype=torch.float64), atol=1e-6)


def test_boxes_without_a_violation_are_empty() -> None:
    lower, upper = -torch.ones(1, 2, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64)
    # x₀ ≥ 0.5 and x₀ ≤ −0.5 cannot both hold, though each can.
    A = torch.tensor([[[-1.0, 0.0], [1.0, 0.0]]], dtype=torch.float64)
    bounds = LinearBounds(torch.zeros(1, 2), A, torch.full((1, 2), 0.5, dtype=torch.float64))
    assert bool(clip(lower, upper, bounds, torch.ones(2, dtype=torch.bool))[2])
