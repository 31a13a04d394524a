"""Derivatives of jets against differences at many digits; ranges against points inside."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from flint import arb, ctx

from lirpa_testing.proof import Jet
from lirpa_testing.proof.jets import PRIMITIVES
from lirpa_testing.proof.ranges import Range

#: Where each function is tried.
DOMAINS = {"log": (0.1, 5), "sqrt": (0.1, 5), "acosh": (1.1, 5), "log1p": (-0.9, 5), "tan": (-1.5, 1.5)}
DOMAINS["lgamma"] = (0.1, 5)
DOMAINS |= dict.fromkeys(("asin", "acos", "atanh", "erfinv"), (-0.9, 0.9))

FORMULAS: dict[str, Callable[[Any], Any]] = {
    **{name: lambda x, name=name: getattr(x, name)() for name in PRIMITIVES},
    "product": lambda x: x * (x * 2 + 1).sigmoid() - 3,
    "quotient": lambda x: 1 / (x**2 + 2) - x / (x**4 + 1) + x / 3,
    "powers": lambda x: (x**2 + 1) ** -1.5 + 2 ** arb(1) * (x**2 + 1) ** 0.3,
    "negative": lambda x: -((-x).exp()) + (2 - x) ** 3,
}


def points(name: str, n: int) -> list[float]:
    low, high = DOMAINS.get(name, (-4, 4))
    return [random.Random(i).uniform(low, high) for i in range(n)]


@pytest.mark.parametrize("name", FORMULAS)
def test_derivatives(name: str) -> None:
    f = FORMULAS[name]
    with ctx.workprec(400):
        h = arb(2) ** -100
        for x in map(arb, points(name, 3)):
            jet = f(Jet.variable(x))
            left, middle, right = (f(Jet.value(z)).f for z in (x - h, x, x + h))
            assert abs(jet.f - middle) < 1e-100
            assert abs(jet.d1 - (right - left) / (2 * h)) < 1e-50
            assert abs(jet.d2 - (right - 2 * middle + left) / h**2) < 1e-50


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("width", [1.0, 0.01, 0.0])
def test_ranges_contain_points(name: str, width: float) -> None:
    f = FORMULAS[name]
    low, high = DOMAINS.get(name, (-4, 4))
    with ctx.workprec(128):
        for a in points(name, 3):
            b = min(a + width * (high - low), high)
            over = f(Jet.variable(Range(arb(a), arb(b))))
            for t in (0.0, 0.3, 0.9, 1.0) if width else (0.0,):
                at = f(Jet.variable(arb(a * (1 - t) + b * t)))
                for order in ("f", "d1", "d2"):
                    found, y = getattr(over, order), getattr(at, order)
                    assert not y < found.lo
                    assert not y > found.hi
                    assert found.hi - found.lo >= 0 or width == 0


def test_ranges_stay_sharp_where_balls_do_not() -> None:
    with ctx.workprec(128):
        wide = Jet.value(Range(arb(1), arb(1000))).softplus().f
        assert wide.lo > 1.3 and wide.hi < 1001
        assert Range(arb(0), arb(4)).inverse().lo == 0.25
        assert not Range(arb(-1), arb(1)).inverse().hi < 1e300
        assert (Range(arb(-2), arb(1)) ** 2).lo == 0
        assert (Range(arb(-2), arb(1)) ** 3).lo == -8
        assert "Range" in repr(Range(arb(0), arb(1)))
        assert Range(arb(1), arb(2)).tan().lo < -1e300  # a pole in between


@pytest.mark.parametrize("a", [(-2, -1), (-1, 2), (1, 3), (0, 1)])
@pytest.mark.parametrize("b", [(-2, -1), (-1, 2), (1, 3), (0, 1)])
def test_products_and_differences(a: tuple[int, int], b: tuple[int, int]) -> None:
    x, y = (Range(arb(p), arb(q)) for p, q in (a, b))
    corners = [p * q for p in a for q in b]
    assert (x * y).lo == min(corners) and (x * y).hi == max(corners)
    assert (x - y).lo == a[0] - b[1] and (x - y).hi == a[1] - b[0]
    assert (3 - x).lo == 3 - a[1] and (x * -2).hi == -2 * a[0]
    assert (x / -2).lo == a[1] / -2 and (x / 2).lo == a[0] / 2
