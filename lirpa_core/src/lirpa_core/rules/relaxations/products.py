"""The range of what is greatest and least at the corners of two intervals, such as a product."""

from __future__ import annotations

import torch
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


def nearest_to_zero(midpoint: Tensor, radius: Tensor) -> Tensor:
    """The share `m` from −1 to 1 for which `midpoint − m·radius` is the point of an interval nearest to zero.

    Any share makes a sound plane. In a box so small that the square of its radius underflows, it is a constant for the
    gradient.

    Args:
        midpoint: Midpoints, finite.
        radius: Radii, finite.
    """
    tiny = radius.detach() <= torch.finfo(radius.dtype).tiny ** 0.5
    fixed = (midpoint / torch.where(radius > 0, radius, 1)).clamp(-1, 1).detach()
    return torch.where(tiny, fixed, (midpoint / torch.where(tiny, 1, radius)).clamp(-1, 1))
