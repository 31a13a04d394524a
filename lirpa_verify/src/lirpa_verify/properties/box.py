"""Boxes with exact limits, and floats that are surely outside or inside them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, SupportsFloat

import numpy as np

from lirpa_verify.errors import PropertyError


@dataclass(frozen=True)
class Box:
    """A box of inputs, its limits exact numbers.

    Attributes:
        lower: Lower limits of the flattened inputs.
        upper: Upper limits.
    """

    lower: tuple[Fraction, ...]
    upper: tuple[Fraction, ...]

    @cached_property
    def is_empty(self) -> bool:
        """Whether no point is in it."""
        return any(low > high for low, high in zip(self.lower, self.upper, strict=True))

    def floats(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """The smallest box with float64 limits that holds this one: two of `[n]`."""
        lower = np.array([_float_below(v) for v in self.lower], dtype=np.float64)
        upper = np.array([-_float_below(-v) for v in self.upper], dtype=np.float64)
        return lower, upper


def exact(value: SupportsFloat | str) -> Fraction:
    """A number as an exact fraction; text is read as the decimal that it is.

    >>> exact("0.1"), exact(0.5)
    (Fraction(1, 10), Fraction(1, 2))

    Raises:
        PropertyError: If it is no finite number.
    """
    try:
        return Fraction(value) if isinstance(value, str | Fraction) else Fraction(float(value))
    except (ValueError, OverflowError, ZeroDivisionError) as error:
        raise PropertyError(f"{value!r} is no finite number") from error


def _float_below(value: Fraction) -> float:
    """The largest float64 that is at most `value`."""
    try:
        nearest = float(value)  # correctly rounded
    except OverflowError as error:
        raise PropertyError(f"a limit of about 10^{len(str(abs(value.numerator)))} is too large") from error
    return nearest if Fraction(nearest) <= value else math.nextafter(nearest, -math.inf)
