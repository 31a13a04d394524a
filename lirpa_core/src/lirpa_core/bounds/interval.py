"""Elementwise lower and upper bounds."""

from __future__ import annotations

import torch
from torch import Tensor


class Interval:
    """Elementwise bounds of one node.

    Attributes:
        around: Centre `[B, *S]` and radius `[1 or B, *S]`, where they are known and need not be computed
            from the ends. A radius that all examples share saves a linear operator most of its work.
    """

    __slots__ = ("_lower", "_upper", "around")

    def __init__(
        self, lower: Tensor | None, upper: Tensor | None, *, around: tuple[Tensor, Tensor] | None = None
    ) -> None:
        """Bounds from their ends, `[B, *S]` each; a leading size of one means the same for every example."""
        assert around is not None or (lower is not None and upper is not None)
        self._lower, self._upper, self.around = lower, upper, around

    @classmethod
    def of_ball(cls, center: Tensor, radius: Tensor) -> Interval:
        """Bounds from a centre and a radius; the ends are computed when somebody asks for them."""
        return cls(None, None, around=(center, radius))

    @property
    def lower(self) -> Tensor:
        """The lower end, `[B, *S]`."""
        if self._lower is None:
            assert self.around is not None
            self._lower = self.around[0] - self.around[1]
        return self._lower

    @property
    def upper(self) -> Tensor:
        """The upper end, `[B, *S]`."""
        if self._upper is None:
            assert self.around is not None
            self._upper = self.around[0] + self.around[1]
        return self._upper

    def __repr__(self) -> str:
        return f"Interval(lower={self.lower}, upper={self.upper})"

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
