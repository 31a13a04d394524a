"""Elementwise lower and upper bounds."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Interval:
    """Elementwise bounds of one node.

    Attributes:
        lower: `[B, *S]`; a leading size of one means the same for every example.
        upper: `[B, *S]`.
        around: Centre `[B, *S]` and radius `[1 or B, *S]`, where they are known and need not be computed
            from the ends. A radius that all examples share saves a linear operator most of its work.
    """

    lower: Tensor
    upper: Tensor
    around: tuple[Tensor, Tensor] | None = None

    @property
    def center(self) -> Tensor:
        """Midpoint `[B, *S]`, computed so that huge end points do not overflow."""
        return self.lower / 2 + self.upper / 2

    @property
    def radius(self) -> Tensor:
        """Half width `[B, *S]`, never negative for an ordered interval."""
        return self.upper / 2 - self.lower / 2

    def ball(self) -> tuple[Tensor, Tensor]:
        """Centre and radius, the known ones where there are such; a radius may have a leading one."""
        if self.around is not None:
            return self.around
        middle = torch.lerp(self.lower, self.upper, 0.5)
        return middle, self.upper - middle

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
