"""Outward bounds hold in exact arithmetic: ranges of small models in intervals of 200 bits, and in rational numbers."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction
from functools import cache

import flint
import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_testing import method_names

METHODS = sorted(method_names())
WIDTH = 3


def _rational(values: Tensor) -> list[Fraction]:
    return [Fraction(float(v)) for v in values.detach().flatten()]


def _affine(layer: nn.Linear, x: list[Fraction]) -> list[Fraction]:
    return [
        sum((w * v for w, v in zip(_rational(row), x, strict=True)), Fraction(float(b)))
        for row, b in zip(layer.weight, layer.bias, strict=True)
    ]


def _relu_network(model: nn.Sequential, x: list[Fraction]) -> list[Fraction]:
    for layer in model:
        x = _affine(layer, x) if isinstance(layer, nn.Linear) else [max(v, Fraction(0)) for v in x]
    return x


def _points(x: Tensor, eps: float, generator: torch.Generator) -> list[list[Fraction]]:
    """Corners of the ball, exactly, and rational points inside."""
    middle, radius = _rational(x), Fraction(eps)
    corners = [
        [m + s * radius for m, s in zip(middle, signs, strict=True)]
        for signs in itertools.product((-1, 1), repeat=len(middle))
    ]
    inside = torch.rand(8, len(middle), generator=generator) * 2 - 1
    return corners + [
        [m + Fraction(float(t)) * radius for m, t in zip(middle, row, strict=True)] for row in inside
    ]


def _assert_holds(lower: Tensor, upper: Tensor, values: list[Fraction]) -> None:
    for low, up, value in zip(lower.detach(), upper.detach(), values, strict=True):
        assert Fraction(float(low)) <= value <= Fraction(float(up))


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", [1.0, 1e4, 1e-6])
def test_piecewise_linear_networks(method: str, scale: float, dtype: torch.dtype) -> None:
    """Rational arithmetic is exact. Large biases that cancel make rounding as large as the bounds."""
    generator = torch.Generator().manual_seed(1)
    for seed in range(4):
        torch.manual_seed(seed)
        layers = [nn.Linear(WIDTH, 5), nn.ReLU(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 2)]
        model = nn.Sequential(*layers).to(dtype).eval().requires_grad_(False)
        with torch.no_grad():
            layers[0].bias.add_(scale)
            layers[2].bias.sub_(layers[2].weight.sum(1) * scale)
        x, eps = torch.rand(1, WIDTH, dtype=dtype, generator=generator), 2.0**-7
        ball = BoundedTensor(x, PerturbationLpNorm(eps=eps))
        lower, upper = BoundedModule(model, x).compute_bounds(x=(ball,), method=method)
        for point in _points(x, eps, generator):
            _assert_holds(lower[0], upper[0], _relu_network(model, point))


#: A function of three numbers in PyTorch, and the same in balls of 200 bits.
FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[list[flint.arb]], flint.arb]]] = {
    "soft maximum": (
        lambda z: (torch.exp(30 * z) / torch.exp(30 * z).sum(-1, keepdim=True) * z).sum(-1, keepdim=True),
        lambda z: sum((30 * v).exp() / sum((30 * u).exp() for u in z) * v for v in z),
    ),
    "logarithm of a sum": (
        lambda z: torch.log(torch.exp(20 * z).sum(-1, keepdim=True)),
        lambda z: sum((20 * v).exp() for v in z).log(),
    ),
    "tanh and sigmoid": (
        lambda z: (torch.tanh(40 * z) * torch.sigmoid(50 * z)).sum(-1, keepdim=True) * 100 - 99,
        lambda z: sum((40 * v).tanh() / (1 + (-50 * v).exp()) for v in z) * 100 - 99,
    ),
    "norm": (
        lambda z: z.square().sum(-1, keepdim=True).sqrt() - z.abs().sum(-1, keepdim=True),
        lambda z: sum(v * v for v in z).sqrt() - sum(abs(v) for v in z),
    ),
    "cancelling squares": (
        lambda z: (z + 1000).square().sum(-1, keepdim=True) - (z - 1000).square().sum(-1, keepdim=True),
        lambda z: sum((v + 1000) ** 2 for v in z) - sum((v - 1000) ** 2 for v in z),
    ),
}  # fmt: skip


class _Model(nn.Module):
    def __init__(self, f: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.f = f

    def forward(self, z: Tensor) -> Tensor:
        return self.f(z)


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_smooth_functions(name: str, method: str, dtype: torch.dtype) -> None:
    f, exact = FUNCTIONS[name]
    generator = torch.Generator().manual_seed(2)
    with flint.ctx.workprec(200):
        for eps in (2.0**-6, 2.0**-14):
            x = torch.rand(1, WIDTH, dtype=dtype, generator=generator) - 0.25
            ball = BoundedTensor(x, PerturbationLpNorm(eps=eps))
            lower, upper = BoundedModule(_Model(f), x).compute_bounds(x=(ball,), method=method)
            for point in _points(x, eps, generator):
                z = [flint.arb(flint.fmpq(v.numerator, v.denominator)) for v in point]
                value = exact(z)
                assert not value < flint.arb(float(lower))
                assert not value > flint.arb(float(upper))


class _Promoted(nn.Module):
    """A float32 input and a float64 layer, so that coefficients are rounded to float32 on their way back."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(WIDTH, 2).double()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x.double())
        return out


@cache
def _promoted() -> tuple[_Promoted, BoundedModule]:
    model = _Promoted().eval().requires_grad_(False)
    return model, BoundedModule(model, torch.zeros(1, WIDTH))


@pytest.mark.parametrize("method", METHODS)
def test_coefficients_that_change_their_type(method: str) -> None:
    generator = torch.Generator().manual_seed(3)
    model, bounded = _promoted()
    for eps in (2.0**-7, 2.0**-20, 0.0):
        x = torch.rand(1, WIDTH, generator=generator)
        ball = BoundedTensor(x, PerturbationLpNorm(eps=eps))
        lower, upper = bounded.compute_bounds(x=(ball,), method=method)
        for point in _points(x, eps, generator):
            _assert_holds(lower[0], upper[0], _affine(model.layer, point))
