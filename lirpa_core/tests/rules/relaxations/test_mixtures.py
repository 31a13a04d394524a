"""Mixtures are convex whatever the shares are."""

from __future__ import annotations

import torch

from lirpa_core.linear.operators import Diagonal
from lirpa_core.linear.relaxation import Affine
from lirpa_core.rules.relaxations import mixed, shares_at, weights_of

SHARES = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.25, 0.25], [1.0, 1.0, 2.0], [-1.0, 0.0, 1e-6]]).double()


def test_weights_are_those_of_a_mean() -> None:
    weights = weights_of(SHARES)
    torch.testing.assert_close(weights.sum(-1), torch.ones(4).double())
    assert bool((weights >= 0).all())
    assert weights[1].tolist() == [0.5, 0.25, 0.25] and weights[3].tolist() == [1, 0, 0]
    other = torch.tensor([0.0, 0.0, 1.0]).double().expand(4, 3)
    assert weights_of(SHARES, other)[3].tolist() == [0, 0, 1]


def test_a_mixture_of_functions_is_the_mean_of_their_values() -> None:
    slopes = torch.arange(12.0).double().reshape(3, 2, 2)
    functions = [Affine((None, Diagonal(k, (2,))), None if i == 1 else k + 1) for i, k in enumerate(slopes)]
    shares = torch.rand(2, 2, 3, generator=torch.Generator().manual_seed(0)).double()
    x = torch.tensor([[1.0, -2.0], [3.0, 0.5]]).double()
    found = mixed(functions, shares)
    assert found.terms[0] is None and found.terms[1] is not None and found.bias is not None
    weights = weights_of(shares)
    values = torch.stack([k * x + (0 if i == 1 else k + 1) for i, k in enumerate(slopes)], -1)
    torch.testing.assert_close(found.terms[1].apply(x) + found.bias, (weights * values).sum(-1))


def test_shares_begin_with_one_function() -> None:
    slope = shares_at(torch.tensor([[2, 0]]), 3, torch.float64)
    assert slope.start.tolist() == [[[0, 0, 1], [1, 0, 0]]]
    assert bool((slope.least == 0).all() and (slope.greatest == 1).all())
