"""NaN and infinity are seen, and a sum that merely overflows is not mistaken for one."""

from __future__ import annotations

import math

import pytest
import torch

from lirpa_core.linear.finite import all_finite


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_seen(bad: float) -> None:
    x = torch.zeros(5)
    x[3] = bad
    assert not all_finite(x)


def test_infinities_that_cancel_are_seen() -> None:
    assert not all_finite(torch.tensor([math.inf, -math.inf]))


def test_a_sum_that_overflows_is_finite() -> None:
    assert all_finite(torch.full((4,), torch.finfo(torch.float32).max))
    assert all_finite(torch.zeros(0))
