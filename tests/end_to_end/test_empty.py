"""Models with tensors in which there is nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import UnsupportedOperandError
from lirpa_testing import method_names

X = torch.tensor([[0.5, -1.0, 2.0], [0.0, 0.25, -0.125]], dtype=torch.float64)
WEIGHT = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64)


def parts(x: Tensor) -> Tensor:
    """`2x₀ + 1` for every example, by way of tensors without elements."""
    nothing = x[:, :0]
    joined = torch.cat([nothing, x[:, :1], x[:, 3:]], 1)
    of_nothing = nothing @ WEIGHT[:, :0].T
    return joined * 2 + nothing.sum(1, keepdim=True) + nothing.prod(1, keepdim=True) + of_nothing


@pytest.mark.parametrize("method", method_names())
def test_what_is_empty_adds_nothing(method: str) -> None:
    ball = BoundedTensor(X, PerturbationLpNorm(eps=0.25))
    lower, upper = BoundedModule(parts, X).compute_bounds(x=(ball,), method=method)
    torch.testing.assert_close(lower, 2 * X[:, :1] + 0.5)
    torch.testing.assert_close(upper, 2 * X[:, :1] + 1.5)


@pytest.mark.parametrize("method", method_names())
def test_an_empty_output_has_empty_bounds(method: str) -> None:
    ball = BoundedTensor(X, PerturbationLpNorm(eps=0.25))
    lower, upper = BoundedModule(lambda x: torch.tanh(x)[:, 3:], X).compute_bounds(x=(ball,), method=method)
    assert lower.shape == upper.shape == (2, 0)


@pytest.mark.parametrize("f", [lambda x: torch.logsumexp(x[:, :0], 1, keepdim=True)])
def test_the_logarithm_of_nothing_is_refused(f: Callable[[Tensor], Tensor]) -> None:
    ball = BoundedTensor(X, PerturbationLpNorm(eps=0.25))
    with pytest.raises(UnsupportedOperandError, match="the sum is of nothing"):
        BoundedModule(f, X).compute_bounds(x=(ball,), method="CROWN")
