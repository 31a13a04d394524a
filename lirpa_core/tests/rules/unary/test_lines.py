"""The unary family for an author: curves stated with as little as possible."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lirpa_core.rules.unary import (
    CONCAVE,
    CONVEX,
    LOWER,
    UPPER,
    Arc,
    Curve,
    Jump,
    default_slopes,
    intercept,
    line_bounds,
    slope_range,
)

#: x³ with nothing but its function and its inflection.
CUBE = Curve(f=lambda x: x**3, arcs=(Arc(CONCAVE, end=0.0), Arc(CONVEX, start=0.0)), monotone=1)


def boxes(n: int = 200) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    ends = torch.randn(2, n, generator=g, dtype=torch.float64) * 3
    return ends.min(0).values, ends.max(0).values


def check(curve: Curve, lo: Tensor, hi: Tensor, k_lo: Tensor, k_up: Tensor) -> None:
    x = lo + (hi - lo) * torch.linspace(0, 1, 401, dtype=lo.dtype)[:, None]
    f = curve.f(x)
    low, up = intercept(curve, lo, hi, k_lo, LOWER), intercept(curve, lo, hi, k_up, UPPER)
    size = 1e-14 * (f.abs() + (k_lo * x).abs() + (k_up * x).abs()).max(0).values
    assert (k_lo * x + low - f <= size).all()
    assert (f - k_up * x - up <= size).all()


def test_a_function_and_its_inflection_are_enough() -> None:
    lo, hi = boxes()
    check(CUBE, lo, hi, *default_slopes(CUBE, lo, hi))
    k = torch.randn(200, dtype=torch.float64) * 5
    check(CUBE, lo, hi, k, k)


def test_the_search_agrees_with_the_closed_form() -> None:
    def root(k: Tensor) -> Tensor:
        return (k / 3).clamp(min=0).sqrt()

    exact = Curve(
        f=lambda x: x**3,
        df=lambda x: 3 * x**2,
        arcs=(Arc(CONCAVE, end=0.0, inverse=lambda k: -root(k)), Arc(CONVEX, start=0.0, inverse=root)),
        monotone=1,
    )
    lo, hi = boxes()
    for found, known in zip(default_slopes(CUBE, lo, hi), default_slopes(exact, lo, hi), strict=True):
        torch.testing.assert_close(found, known, rtol=1e-4, atol=1e-6)
    k = torch.randn(200, dtype=torch.float64) * 5
    for found, known in zip(line_bounds(CUBE, lo, hi, k), line_bounds(exact, lo, hi, k), strict=True):
        torch.testing.assert_close(found, known, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("wrong", [0.0, 1e9, -1e9, math.nan, math.inf])
def test_a_wrong_inverse_is_loose_but_sound(wrong: float) -> None:
    curve = Curve(
        f=torch.exp,
        df=torch.exp,
        arcs=(Arc(CONVEX, inverse=lambda k: torch.full_like(k, wrong)),),
        shape=CONVEX,
    )
    lo, hi = boxes()
    check(curve, lo, hi, *default_slopes(curve, lo, hi))
    k = torch.randn(200, dtype=torch.float64) * 5
    check(curve, lo, hi, k, k)


def test_a_wrong_shape_is_loose_but_sound() -> None:
    curve = Curve(f=torch.exp, df=torch.exp, arcs=(Arc(CONVEX, inverse=lambda k: k.log()),), shape=CONCAVE)
    lo, hi = boxes()
    check(curve, lo, hi, *default_slopes(curve, lo, hi))


def test_intercepts_differentiate_to_the_touching_point() -> None:
    lo, hi = torch.tensor([-1.0]).double(), torch.tensor([2.0]).double()
    curve = Curve(f=torch.exp, df=torch.exp, arcs=(Arc(CONVEX, inverse=lambda k: k.log()),), shape=CONVEX)
    k = torch.tensor([2.0], dtype=torch.float64, requires_grad=True)
    low, up = line_bounds(curve, lo, hi, k)
    assert torch.autograd.grad(low, k)[0].item() == pytest.approx(-math.log(2))
    assert torch.autograd.grad(up, k)[0].item() == pytest.approx(-2.0)


RELU = Curve(
    f=torch.relu, df=lambda x: (x > 0).to(x.dtype), corners=(0.0,), monotone=1, shape=CONVEX, homogeneous=True
)
EXP = Curve(f=torch.exp, df=torch.exp, arcs=(Arc(CONVEX, inverse=lambda k: k.log()),), shape=CONVEX)


@pytest.mark.parametrize("curve", [CUBE, RELU, EXP], ids=["cube", "relu", "exp"])
@pytest.mark.parametrize("side", [LOWER, UPPER])
def test_slopes_out_of_the_range_are_beaten_everywhere(curve: Curve, side: int) -> None:
    lo, hi = boxes()
    least, greatest = slope_range(curve, lo, hi, side)
    assert bool((least <= greatest).all())
    x = lo + (hi - lo) * torch.linspace(0, 1, 101, dtype=lo.dtype)[:, None]

    def line(k: Tensor) -> Tensor:
        return k * x + intercept(curve, lo, hi, k, side)

    size = 1e-5 * (1 + curve.f(x).abs().max(0).values)
    for worse, edge in ((least - 0.5, least), (greatest + 0.5, greatest)):
        assert bool((side * (line(edge) - line(worse)) >= -size).all())


def test_the_range_ends_at_the_slopes_of_the_envelope() -> None:
    lo, hi = torch.tensor([-1.0, 1.0], dtype=torch.float64), torch.tensor([3.0, 2.0], dtype=torch.float64)
    below, above = (slope_range(RELU, lo, hi, side) for side in (LOWER, UPPER))
    assert [k.tolist() for k in below] == [[0, 1], [1, 1]]
    assert [k.tolist() for k in above] == [[0.75, 1], [0.75, 1]]


def test_at_a_tie_the_corner_gives_the_gradient() -> None:
    k = torch.tensor([0.0, 1.0], dtype=torch.float64, requires_grad=True)
    b = intercept(RELU, torch.tensor(-1.0).double(), torch.tensor(2.0).double(), k, LOWER)
    (gradient,) = torch.autograd.grad(b.sum(), k)
    assert gradient.tolist() == [0, 0]  # slopes from 0 to 1 turn about the corner


def test_jumps_are_seen_from_the_side_that_the_box_is_on() -> None:
    curve = Curve(f=lambda x: (x > 0).to(x.dtype), df=torch.zeros_like, corners=(Jump(0.0, 0.0, 1.0),))
    lo = torch.tensor([-1.0, 0.0, -1.0, 0.0], dtype=torch.float64)
    hi = torch.tensor([0.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    lower, upper = curve.hull(lo, hi)
    assert lower.tolist() == [0.0, 0.0, 0.0, 0.0]
    assert upper.tolist() == [0.0, 1.0, 1.0, 0.0]


def test_interior_extrema_count_for_the_interval() -> None:
    bowl = Curve(f=torch.cosh, df=torch.sinh, arcs=(Arc(CONVEX),), extrema=(0.0,), shape=CONVEX)
    lower, upper = bowl.hull(torch.tensor([-1.0, 1.0]), torch.tensor([2.0, 2.0]))
    assert lower[0].item() == 1.0
    assert lower[1].item() == pytest.approx(math.cosh(1), rel=1e-6)
    assert upper.tolist() == pytest.approx([math.cosh(2)] * 2, rel=1e-6)
