"""Rounding of sums: γ against rational arithmetic, and boxes that hold what a relative change may do to their numbers."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.rounding import gamma, size, tiny, widened

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
    ends=st.tuples(*[st.floats(-1e6, 1e6, width=32)] * 2).map(sorted),
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
    assert Fraction(float(found.lower)) <= moved <= Fraction(float(found.upper))


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
    assert size(box).tolist() == [[3.0, 4.0, 0.0]]
