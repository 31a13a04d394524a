"""Intervals by their ends and by midpoint and radius are the same sets."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lirpa_core.linear import Interval

# Halves of denormal numbers are rounded, so a midpoint may leave an interval by the smallest of them.
ends = st.tuples(st.floats(-1e6, 1e6, allow_subnormal=False), st.floats(0, 1e6, allow_subnormal=False))


@given(st.lists(ends, min_size=1, max_size=4))
def test_midpoint_and_radius_are_those_of_the_ends(pairs: list[tuple[float, float]]) -> None:
    lower = torch.tensor([[low for low, _ in pairs]], dtype=torch.float64)
    width = torch.tensor([[w for _, w in pairs]], dtype=torch.float64)
    x = Interval(lower, lower + width)
    middle, radius = x.midpoint_radius()
    assert bool((x.lower <= x.midpoint).all()) and bool((x.midpoint <= x.upper).all())
    assert bool((radius >= 0).all()) and bool((x.radius >= 0).all())
    torch.testing.assert_close(middle, x.midpoint)
    torch.testing.assert_close(2 * x.radius, x.width)
    again = Interval.from_midpoint_radius(middle, radius)
    torch.testing.assert_close(again.lower, x.lower, rtol=1e-12, atol=1e-9)
    torch.testing.assert_close(again.upper, x.upper, rtol=1e-12, atol=1e-9)
    assert again.midpoint_radius()[1] is radius


def test_huge_ends_do_not_overflow() -> None:
    big = torch.full((1, 1), torch.finfo(torch.float32).max)
    x = Interval(-big, big)
    assert x.midpoint.item() == 0 and x.radius.item() == big.item()


def test_the_intersection_is_in_both() -> None:
    a = Interval(torch.tensor([[0.0, -1.0]]), torch.tensor([[2.0, 1.0]]))
    b = Interval(torch.tensor([[-1.0, 0.5]]), torch.tensor([[1.0, 3.0]]))
    found = a.intersect(b)
    assert found.lower.tolist() == [[0.0, 0.5]] and found.upper.tolist() == [[1.0, 1.0]]


def test_detached_ends_have_no_history() -> None:
    low = torch.zeros(1, 2, requires_grad=True)
    x = Interval(low + 0, low + 1)
    assert x.lower.requires_grad and not x.detach().lower.requires_grad and not x.detach().upper.requires_grad


def test_size_is_zero_where_an_end_is_infinite_or_not_a_number() -> None:
    """Such elements are selected away later; a sum over an example must not be lost to them."""
    infinity, nothing = float("inf"), float("nan")
    lower = torch.tensor([[-1.0, 2, -infinity, nothing, 0, -3]])
    upper = torch.tensor([[3.0, 2, 1, nothing, infinity, -2]])
    found = Interval(lower, upper)
    assert found.size.tolist() == [[3, 2, 0, 0, 0, 3]]
    assert found.total.tolist() == [8]
    assert Interval(torch.tensor([-1.0, 2]), torch.tensor([3.0, 2])).total.tolist() == [3, 2]


def test_what_is_not_stored_is_computed_once_also_by_dynamo() -> None:
    def ends(middle: Tensor, radius: Tensor) -> tuple[bool, bool, Tensor]:
        x = Interval.from_midpoint_radius(middle, radius)
        before = x.has_ends
        found = x.lower + x.upper + x.size + x.total.unsqueeze(1)
        return before, x.has_ends, found

    middle, radius = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, 3.0]])
    expected = ends(middle, radius)
    assert expected[:2] == (False, True)
    torch.testing.assert_close(expected[2], 2 * middle + torch.tensor([[1.5 + 6.5, 5.0 + 6.5]]))
    compiled = torch.compile(ends, backend="eager", fullgraph=True)(middle, radius)
    assert compiled[:2] == expected[:2] and torch.equal(compiled[2], expected[2])
    x = Interval.from_midpoint_radius(middle, radius)
    assert x.lower is x.lower and x.size is x.size
