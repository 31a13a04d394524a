"""Where a box leaves the domain of a function. NaN is outside of every domain."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor

Outside: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def unless_above(bound: float) -> Outside:
    """The domain is `x > bound`."""
    return lambda lo, hi: ~((lo > bound) & (hi > bound))


def unless_from(bound: float) -> Outside:
    """The domain is `x >= bound`."""
    return lambda lo, hi: ~((lo >= bound) & (hi >= bound))


def unless_within(bound: float) -> Outside:
    """The domain is `-bound <= x <= bound`."""
    return lambda lo, hi: ~((lo >= -bound) & (hi <= bound))


def unless_strictly_within(bound: float) -> Outside:
    """The domain is `-bound < x < bound`."""
    return lambda lo, hi: ~((lo > -bound) & (hi < bound))


def unless_one_sign(lo: Tensor, hi: Tensor) -> Tensor:
    """The domain is everything but zero, which must not be between the ends either."""
    return ~((lo > 0) | (hi < 0))
