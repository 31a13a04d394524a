"""Coefficients whose squares underflow: the radius of a Euclidean ball counts, however small they are."""

from __future__ import annotations

from fractions import Fraction

import flint
import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.plugins import default_registry
from lirpa_core.rules.unary import Curve
from lirpa_testing import method_names

#: Where `exp` is about the fifth eighth of the smallest normal number's logarithm.
DEPTH = {torch.float32: 60.0, torch.float64: 545.0}


class _Exponential(nn.Module):
    """A sum of exponentials of small numbers, through a layer so that it is no interval's business."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(2, 3, dtype=dtype))
        self.depth = DEPTH[dtype]

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = torch.exp(nn.functional.linear(x, self.weight) - self.depth)
        return out


@pytest.mark.parametrize("dtype", DEPTH, ids=str)
@pytest.mark.parametrize("norm", [1.0, 1.5, 2.0, 4.0, float("inf")])
@pytest.mark.parametrize("method", sorted(method_names()))
def test_small_coefficients_keep_their_radius(method: str, norm: float, dtype: torch.dtype) -> None:
    x = torch.tensor([[0.5, -0.25, 0.125]], dtype=dtype)
    ball = BoundedTensor(x, PerturbationLpNorm(norm=norm, eps=1.0))
    lower, upper = BoundedModule(_Exponential(dtype), x).compute_bounds(x=(ball,), method=method)
    with flint.ctx.workprec(200):
        middle = flint.arb(flint.fmpq(3, 8) - flint.fmpq(int(DEPTH[dtype])))
        # Equal shares of the radius move the sum as far as anything; a trifle less stays inside.
        reach = flint.arb(3) ** (1 - flint.arb(1) / flint.fmpq(*Fraction(norm).as_integer_ratio())) if norm < 1e9 else flint.arb(3)  # fmt: skip
        reach = reach * (1 - flint.arb(2) ** -30)
        for value in ((middle - reach).exp(), (middle + reach).exp()):
            for low, up in zip(lower[0], upper[0], strict=True):
                assert flint.arb(float(low)) < value < flint.arb(float(up))


@pytest.mark.parametrize("dtype", DEPTH, ids=str)
@pytest.mark.parametrize("method", sorted(method_names()))
def test_what_underflows_keeps_its_sign(method: str, dtype: torch.dtype) -> None:
    """The logarithm of a sigmoid is negative everywhere, and softplus positive, though both are computed as zero."""
    x = torch.tensor([[1e4, 1e30]], dtype=dtype)

    class Far(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([nn.functional.logsigmoid(x), nn.functional.softplus(-x)], -1)

    ball = BoundedTensor(x, PerturbationLpNorm(eps=0.5))
    lower, upper = BoundedModule(Far(), x).compute_bounds(x=(ball,), method=method)
    with flint.ctx.workprec(200):
        size = flint.arb(-10_000).exp()
        assert flint.arb(float(lower[0, 0])) < -size and size < flint.arb(float(upper[0, 2]))
    assert bool((lower[0, :2] < 0).all()) and bool((upper[0, 2:] > 0).all())


def test_zeros_of_relative_curves_have_the_sign_of_what_underflowed() -> None:
    """Of curves that are exact but for a few units of the last place, as that of the nearest value that is not zero."""
    rules = {str(name): entry.rule for name, entry in default_registry().operators.items()}
    curves = {
        name: rule.curve for name, rule in rules.items() if isinstance(getattr(rule, "curve", None), Curve)
    }
    curves = {name: curve for name, curve in curves.items() if curve.rounding == "relative"}
    assert len(curves) > 10 and "aten.log_sigmoid.default" in curves
    for name, curve in curves.items():
        for side in (-1, 1):
            values = curve.f(side * 10 ** torch.linspace(0, 30, 121, dtype=torch.float64))
            known = values[(values != 0) & values.isfinite()]
            zeros = values[values == 0]
            if len(known) and len(zeros):
                assert bool((zeros.signbit() == known[-1].signbit()).all()), name


@pytest.mark.parametrize("dtype", DEPTH, ids=str)
@pytest.mark.parametrize("method", sorted(method_names()))
def test_softmax_far_apart_is_between_zero_and_one(method: str, dtype: torch.dtype) -> None:
    """Its logarithm is below zero where it underflows, and what lies below the normal numbers is rounded by more than relative errors."""

    class Far(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([torch.softmax(x, -1), torch.log_softmax(x, -1)], -1)

    gaps = range(*{torch.float32: (80, 110), torch.float64: (700, 760)}[dtype], 3)
    x = torch.tensor([[0.0, float(gap)] for gap in gaps], dtype=dtype)
    ball = BoundedTensor(x, PerturbationLpNorm(eps=0.0))
    lower, upper = BoundedModule(Far(), x[:1]).compute_bounds(x=(ball,), method=method)
    with flint.ctx.workprec(4000):
        for gap, lows, ups in zip(gaps, lower, upper, strict=True):
            small = flint.arb(-gap).exp()
            values = (small / (1 + small), 1 / (1 + small), -gap - small.log1p(), -small.log1p())
            for low, value, up in zip(lows, values, ups, strict=True):
                assert flint.arb(float(low)) <= value <= flint.arb(float(up))
