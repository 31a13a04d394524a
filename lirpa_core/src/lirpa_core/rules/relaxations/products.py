"""The range of what is greatest and least at the corners of two intervals, such as a product."""

from __future__ import annotations

from torch import Tensor

#: Lower and upper ends.
Ends = tuple[Tensor, Tensor]


def extremes(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Ends:
    """The least and the greatest of four values, element by element."""
    return a.minimum(b).minimum(c.minimum(d)), a.maximum(b).maximum(c.maximum(d))


def product_range(x: Ends, y: Ends) -> Ends:
    """The range of `x · y`, element by element: a product is linear in either factor, so its corners are extreme."""
    (a, b), (c, d) = x, y
    return extremes(a * c, a * d, b * c, b * d)
