"""Elementwise lower and upper bounds."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Interval:
    """Elementwise bounds of one node.

    Attributes:
        lower: `[B, *S]`; a leading size of one means the same for every example.
        upper: `[B, *S]`.
    """

    lower: Tensor
    upper: Tensor

    @property
    def center(self) -> Tensor:
        """Midpoint `[B, *S]`, computed so that huge end points do not overflow."""
        return self.lower / 2 + self.upper / 2

    @property
    def radius(self) -> Tensor:
        """Half width `[B, *S]`, never negative for an ordered interval."""
        return self.upper / 2 - self.lower / 2

    @property
    def width(self) -> Tensor:
        """`upper - lower`, `[B, *S]`."""
        return self.upper - self.lower

    def intersect(self, other: Interval) -> Interval:
        """The tighter bound of each side; both intervals must be sound for the same value."""
        return Interval(self.lower.maximum(other.lower), self.upper.minimum(other.upper))

    def detach(self) -> Interval:
        """The same bounds without gradient history."""
        return Interval(self.lower.detach(), self.upper.detach())
