"""Layer norm and RMS norm, end to end and against what is known of their range."""

from __future__ import annotations

import itertools
import math

import flint
import pytest
import torch
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.plugins import default_registry
from lirpa_testing import few_steps, method_names
from lirpa_testing.fuzz.methods import fuzzed_methods, method_of


@pytest.mark.parametrize(
    "layer",
    [
        nn.LayerNorm(4),
        nn.LayerNorm((3, 4), elementwise_affine=False),
        nn.LayerNorm(4, bias=False),
        nn.RMSNorm(4),
    ],
    ids=["layer", "two dimensions", "no bias", "rms"],
)
def test_layers(layer, check) -> None:
    torch.manual_seed(0)
    check(nn.Sequential(nn.Linear(4, 4), layer), torch.randn(2, 3, 4), eps=(1e-12, 0.05, 1e3))


@pytest.mark.parametrize(("layer", "largest"), [(nn.LayerNorm(5), 2.0), (nn.RMSNorm(5), math.sqrt(5))])
def test_no_element_can_exceed_its_share(layer, largest) -> None:
    x = torch.randn(2, 5, dtype=torch.float64)
    bounded = BoundedModule(layer.double(), x)
    lb, ub = bounded.compute_bounds(x=(BoundedTensor(x, PerturbationLpNorm(eps=100.0)),), method="IBP")
    assert float(ub.detach().amax()) <= largest + 1e-9
    assert float(lb.detach().amin()) >= -largest - 1e-9


@pytest.mark.parametrize("layer", [nn.LayerNorm(8), nn.RMSNorm(8)])
def test_never_looser_than_the_decomposition(layer) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 8), layer).double()
    for p in model.parameters():
        p.requires_grad_(False)
    x = torch.randn(4, 6, dtype=torch.float64)
    ours = BoundedModule(model, x, bound_opts=few_steps())
    plain = BoundedModule(model, x, registry=default_registry().without("nlp"), bound_opts=few_steps())
    for eps in (0.01, 0.1, 1.0):
        ball = BoundedTensor(x, PerturbationLpNorm(eps=eps))
        for method in method_names():
            widths = [
                float((ub - lb).sum())
                for lb, ub in (b.compute_bounds(x=(ball,), method=method) for b in (ours, plain))
            ]
            assert widths[0] <= widths[1] * (1 + 1e-9), (eps, method, widths)


@pytest.mark.parametrize("scale", [1e-12, 1e-20, 1e-30, 1e-36])
@pytest.mark.parametrize(
    "norm",
    [
        lambda x: torch.nn.functional.layer_norm(x, (3,)),
        lambda x: torch.nn.functional.rms_norm(x, (3,), eps=1e-3),
        torch.nn.functional.normalize,
    ],
    ids=["layer norm", "rms norm", "normalize"],
)
def test_vectors_far_below_epsilon_are_not_taken_for_zero(norm, scale) -> None:
    """In units of the largest element epsilon would be infinite, and everything divided by it zero."""
    x = torch.tensor([[1.0, -0.5, 3.0]]) * scale
    bounded = BoundedModule(Normed(norm), x)
    ball = BoundedTensor(x, PerturbationLpNorm(eps=scale / 100))
    exact = norm(x.double())
    for method in method_names(optimized=False):
        lower, upper = bounded.compute_bounds(x=(ball,), method=method)
        assert bool((lower.double() <= exact).all() and (exact <= upper.double()).all()), method


class Normed(torch.nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, x):
        return self.norm(x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("norm", "length"), [("rms", 4), ("normalize", 1)])
def test_an_element_that_may_be_far_larger_leaves_the_others_their_squares(dtype, norm, length) -> None:
    """The sum of all squares less the largest would have nothing left of them."""
    tops = [1e3, 1e6, 1e12] if dtype == torch.float32 else [1e6, 1e10, 1e40]
    lower = torch.tensor([[0.0, 0.25, 0.5, -3]], dtype=dtype).repeat(3, 1)
    upper = torch.tensor([[0.5, 1, top, 2] for top in tops], dtype=dtype)
    x = (lower + upper) / 2

    def function(x: torch.Tensor) -> torch.Tensor:
        if norm == "rms":
            return torch.nn.functional.rms_norm(x, (4,), eps=0.0)
        return torch.nn.functional.normalize(x, dim=-1)

    bounded = BoundedModule(function, x, bound_opts=few_steps())
    ball = BoundedTensor(x, PerturbationLpNorm(x_L=lower, x_U=upper))
    for method in fuzzed_methods():
        lb, ub = bounded.compute_bounds(x=(ball,), method=method_of(method))
        with flint.ctx.workprec(300):
            for k in range(3):
                for corner in itertools.product(*zip(lower[k].tolist(), upper[k].tolist(), strict=True)):
                    v = [flint.arb(c) for c in corner]
                    root = (sum((a * a for a in v), flint.arb(0)) / length).sqrt()
                    for i, a in enumerate(v):
                        assert not a / root < flint.arb(float(lb[k, i])), (method, tops[k], i)
                        assert not a / root > flint.arb(float(ub[k, i])), (method, tops[k], i)
