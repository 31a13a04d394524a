"""How much time is left."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from lirpa_core.errors import OptionError


@dataclass(frozen=True)
class Clock:
    """Counts from when it was made.

    Attributes:
        limit: Seconds; infinity for no limit.

    Raises:
        OptionError: If the limit is not positive.
    """

    limit: float = math.inf
    start: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        if not self.limit > 0:
            raise OptionError(f"timeout={self.limit!r}: expected a positive number of seconds")

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.start

    @property
    def left(self) -> float:
        """Seconds left; negative when the time is over."""
        return self.limit - self.elapsed

    @property
    def expired(self) -> bool:
        """Whether the time is over."""
        return self.left <= 0
