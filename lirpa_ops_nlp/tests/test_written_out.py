"""Vectors of length one, cosines and what is divided by a deviation plus a number, however they are written."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import LirpaError
from lirpa_testing import few_steps, method_names

X = torch.randn(2, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def length(x: Tensor) -> Tensor:
    return torch.sqrt((x * x).sum(-1, keepdim=True))


def cosine(x: Tensor) -> Tensor:
    y = x.flip(-1)
    return (x * y).sum(-1) / (x.norm(dim=-1).clamp(min=1e-8) * y.norm(dim=-1).clamp(min=1e-8))


def standardized(x: Tensor) -> Tensor:
    """As in The Annotated Transformer, https://nlp.seas.harvard.edu/annotated-transformer, with ε outside of the root."""
    return (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-2)


WAYS = {
    "normalize": (lambda x: F.normalize(x, dim=-1), lambda x: F.normalize(x, dim=-1)),
    "by norm": (
        lambda x: x / x.norm(dim=-1, keepdim=True).clamp_min(1e-12),
        lambda x: F.normalize(x, dim=-1),
    ),
    "by root": (lambda x: x / length(x).clamp(min=1e-12), lambda x: F.normalize(x, dim=-1)),
    "by maximum": (
        lambda x: x / torch.maximum(length(x), torch.full_like(length(x), 1e-12)),
        lambda x: F.normalize(x, dim=-1),
    ),
    "of channels": (
        lambda x: x / x.norm(dim=1, keepdim=True).clamp_min(1e-6),
        lambda x: F.normalize(x, dim=1, eps=1e-6),
    ),
    "cosine": (cosine, lambda x: F.cosine_similarity(x, x.flip(-1), dim=-1)),
    "cosine of normalized": (
        lambda x: (F.normalize(x, dim=-1, eps=1e-8) * F.normalize(x.flip(-1), dim=-1, eps=1e-8)).sum(-1),
        lambda x: F.cosine_similarity(x, x.flip(-1), dim=-1),
    ),
    "RMS norm, ε outside": (
        lambda x: x / (x.pow(2).mean(-1, keepdim=True).sqrt() + 1e-2),
        lambda x: x * (1 / (torch.sqrt(torch.mean(x * x, -1, True)) + 1e-2)),
    ),
    "layer norm, ε outside": (
        standardized,
        lambda x: (x - x.mean(-1, keepdim=True)) * (1 / (x.var(-1, keepdim=True) ** 0.5 + 1e-2)),
    ),
}


class Behind(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.first, self.function = nn.Linear(5, 5, dtype=torch.float64), function
        with torch.no_grad():
            for p in self.first.parameters():
                p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(p.dim())))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.first(x))


@pytest.mark.in_turn(3)
@pytest.mark.parametrize("eps", [0.01, 0.3, 3.0])
@pytest.mark.parametrize("name", WAYS)
def test_bounds_hold_and_are_those_of_the_operator(name: str, eps: float) -> None:
    """At ε = 3 the box has zero in it, where the old bounds were as large as 1 / ε."""
    written, built_in = (Behind(f) for f in WAYS[name])
    ours, theirs = (BoundedModule(m, X, bound_opts=few_steps()) for m in (written, built_in))
    assert any("of_length" in str(n.target) for n in ours.graph.nodes)
    ball = BoundedTensor(X, PerturbationLpNorm(eps=eps))
    with torch.no_grad():
        points = X + eps * (2 * torch.rand(300, *X.shape, dtype=torch.float64) - 1)
        points[:50] = X + eps * points[:50].sub(X).sign()
        values = torch.stack([written(p) for p in points])
        most = math.sqrt(5) if "ε outside" in name else 5 if "cosine" in name else 1
        for method in method_names():
            lower, upper = ours.compute_bounds(x=(ball,), method=method)
            low, up = theirs.compute_bounds(x=(ball,), method=method)
            assert (lower <= values + 1e-9).all() and (values <= upper + 1e-9).all(), method
            assert float((upper - lower).mean()) <= 1.01 * float((up - low).mean()), method
            assert float(upper.max()) <= most + 1e-9 and float(lower.min()) >= -most - 1e-9, method


def test_the_interval_is_exact_for_independent_elements() -> None:
    """Brute force: the largest share of one element, the others as small as they can be."""
    x = torch.tensor([[0.5, -1.0, 2.0]], dtype=torch.float64)
    bounded = BoundedModule(lambda z: F.normalize(z, dim=-1), x, bound_opts={"rounding": "nearest"})
    lower, upper = bounded.compute_bounds(x=(BoundedTensor(x, PerturbationLpNorm(eps=0.25)),), method="IBP")
    steps = torch.linspace(-0.25, 0.25, 41, dtype=torch.float64)
    values = F.normalize(x + torch.cartesian_prod(steps, steps, steps), dim=-1)
    torch.testing.assert_close(lower[0], values.amin(0))
    torch.testing.assert_close(upper[0], values.amax(0))


def test_a_length_that_may_be_zero_without_eps_is_no_bound() -> None:
    """Fails closed: there the model itself is not a number."""
    bounded = BoundedModule(lambda x: x / x.norm(dim=-1, keepdim=True), X)
    with pytest.raises(LirpaError, match="rsqrt"):
        bounded.compute_bounds(x=(BoundedTensor(X, PerturbationLpNorm(eps=100.0)),), method="IBP")
