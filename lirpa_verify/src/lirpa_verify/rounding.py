"""The one place that decides what floating-point bounds prove.

Bounds are computed in float64 and round outward: they hold in exact arithmetic for the rows and boxes as float64
numbers. The margin is for what is computed around them, rows from fractions and sums of rows with constants.
"""

from __future__ import annotations

from typing import Final

from torch import Tensor

#: About a million times the rounding error of a float64 sum whose terms are of size one.
_MARGIN: Final = 1e-9


def is_positive(bound: Tensor, scale: Tensor) -> Tensor:
    """Whether real numbers with these float64 lower bounds are surely positive.

    Args:
        bound: Lower bounds.
        scale: The size of the terms that were summed, in the shape of `bound` or broadcastable to it.
    """
    return bound > slack(scale)


def slack(scale: Tensor) -> Tensor:
    """How far a float64 sum of terms of this size could be off."""
    return _MARGIN * (1 + scale.abs())
