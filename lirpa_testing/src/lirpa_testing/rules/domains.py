"""The ranges that boxes are drawn from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

#: Closed range that the ends of boxes are drawn from.
Domain: TypeAlias = tuple[float, float]

#: No limits.
ANYWHERE: Domain = (-math.inf, math.inf)


def domains_of(domain: Domain | Sequence[Domain], operands: int) -> tuple[Domain, ...]:
    """One range for each operand, where one may be given for all."""
    first, *_ = domain
    if isinstance(first, tuple):
        return tuple(domain)  # type: ignore[arg-type]
    low, high = domain
    return ((low, high),) * operands  # type: ignore[return-value]
