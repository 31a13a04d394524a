"""Rounding of sums: γ against rational arithmetic, and boxes that hold what a relative change may do to their numbers."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.rounding import gamma, tiny, widened, without_overflow

DTYPES = [torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES)
def test_gamma_bounds_the_error_of_a_sum_of_products(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    for n in (1, 2, 7, 100, 1000):
        w, x = (torch.randn(n, dtype=dtype, generator=generator) * 1e3 for _ in range(2))
        terms = [Fraction(float(a)) * Fraction(float(b)) for a, b in zip(w, x, strict=True)]
        for order in (torch.arange(n), torch.arange(n).flip(0), torch.randperm(n, generator=generator)):
            error = abs(Fraction(float(w[order] @ x[order])) - sum(terms))
            assert error <= Fraction(gamma(n, dtype)) * sum(map(abs, terms))


def test_gamma_is_that_of_higham_or_more_and_infinite_where_it_is_not_small() -> None:
    u = Fraction(1, 2**24)
    for n in (1, 10, 10**4):
        exact = n * u / (1 - n * u)
        assert exact <= Fraction(gamma(n, torch.float32)) <= exact * Fraction(13, 10)
    assert gamma(2**23, torch.float32) == math.inf
    assert gamma(10, torch.bfloat16) >= torch.finfo(torch.bfloat16).eps


@pytest.mark.parametrize("relative_to", ["ends", "box"])
@pytest.mark.parametrize("stored", ["ends", "midpoint"])
@pytest.mark.parametrize("dtype", DTYPES)
@given(
    ends=st.tuples(*[st.floats(-1e6, 1e6, width=32, allow_subnormal=False)] * 2).map(sorted),
    share=st.floats(0, 1),
    change=st.floats(-1, 1),
)
def test_a_widened_box_holds_numbers_after_the_change(
    relative_to, stored, dtype, ends, share, change
) -> None:
    low, up = (torch.tensor([[e]], dtype=dtype) for e in ends)
    box = Interval(low, up)
    if stored == "midpoint":
        box = Interval.from_midpoint_radius(*box.midpoint_radius())
    factor = gamma(20, dtype)
    found = widened(box, relative_to, 2 * factor)
    exact_low, exact_up = (
        (Fraction(float(low)), Fraction(float(up)))
        if stored == "ends"
        else tuple(
            Fraction(float(box.known_midpoint_radius[0])) + s * Fraction(float(box.known_midpoint_radius[1]))
            for s in (-1, 1)
        )
    )
    x = exact_low + (exact_up - exact_low) * Fraction(share)
    moved = x * (1 + Fraction(change) * Fraction(factor))
    least = Fraction(tiny(dtype))  # what underflow takes is another allowance
    assert Fraction(float(found.lower)) - least <= moved <= Fraction(float(found.upper)) + least


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_change_relative_to_ends_is_made_in_the_type_and_keeps_signs_and_infinities(
    dtype: torch.dtype,
) -> None:
    low = torch.tensor([[0.0, 1.0, -math.inf, -2.0]], dtype=dtype)
    up = torch.tensor([[1.0, 2.0, -math.inf, -0.0]], dtype=dtype)
    found = widened(Interval(low, up), "ends", 2 * gamma(4, dtype), tiny(dtype))
    assert (found.lower[0, :2] >= 0).all() and found.upper[0, 3] <= 0
    assert found.lower[0, 2] == found.upper[0, 2] == -math.inf
    assert found.lower[0, 1] < 1 and found.upper[0, 1] > 2 and found.lower[0, 3] < -2
    assert found.lower.dtype == dtype


def test_the_size_of_a_box() -> None:
    box = Interval(torch.tensor([[-3.0, 1.0, -math.inf]]), torch.tensor([[2.0, 4.0, 5.0]]))
    assert box.size.tolist() == [[3.0, 4.0, 0.0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("relative_to", ["ends", "box"])
def test_each_end_moves(dtype: torch.dtype, relative_to: str) -> None:
    lower = torch.tensor([[-3.0, 0.3, -0.3]], dtype=dtype)
    upper = torch.tensor([[-2.0, 0.3, 0.7]], dtype=dtype)
    factor = gamma(24, dtype)
    wider = widened(Interval(lower, upper), relative_to, factor)  # type: ignore[arg-type]
    assert bool((wider.lower < lower).all()) and bool((wider.upper > upper).all())
    if relative_to == "ends":
        exact = lower.double() - lower.double().abs() * factor
        assert bool(((wider.lower.double() - exact).abs() <= torch.finfo(dtype).eps * lower.abs()).all())
        assert torch.equal(wider.lower.sign(), lower.sign()) and torch.equal(wider.upper.sign(), upper.sign())


def test_infinite_ends_stay() -> None:
    x = Interval(torch.tensor([[-torch.inf, torch.inf]]), torch.tensor([[torch.inf, torch.inf]]))
    wider = widened(x, "ends", 1e-5)
    assert torch.equal(wider.lower, x.lower) and torch.equal(wider.upper, x.upper)


def test_an_end_that_overflowed_bounds_nothing() -> None:
    x = Interval(torch.tensor([[torch.inf, 1.0, -torch.inf]]), torch.tensor([[torch.inf, 2.0, -torch.inf]]))
    found = without_overflow(x)
    assert found.lower.tolist() == [[-torch.inf, 1.0, -torch.inf]]
    assert found.upper.tolist() == [[torch.inf, 2.0, torch.inf]]
