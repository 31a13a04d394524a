"""Float boxes hold the exact ones, and are the smallest that do."""

from __future__ import annotations

import math
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from lirpa_verify.properties import Box, exact


@given(st.fractions(max_denominator=10**9), st.fractions(min_value=0, max_denominator=10**9))
def test_float_limits_are_outside_by_less_than_a_float(low: Fraction, width: Fraction) -> None:
    box = Box((low,), (low + width,))
    ((lower,), (upper,)) = box.floats()
    assert Fraction(lower) <= low < Fraction(math.nextafter(lower, math.inf))
    assert Fraction(math.nextafter(upper, -math.inf)) < low + width <= Fraction(upper)


def test_text_is_the_decimal_that_it_is() -> None:
    assert exact("0.1") == Fraction(1, 10) != Fraction(0.1)


def test_empty_boxes_are_known() -> None:
    assert Box((Fraction(1),), (Fraction(0),)).is_empty
    assert not Box((Fraction(1),), (Fraction(1),)).is_empty
