"""Elementwise lower and upper bounds."""

from __future__ import annotations

import torch
from torch import Tensor


class Interval:
    """Elementwise bounds of one node.

    An interval is stored by its ends, by its midpoint and radius, or by both. Ends that are not stored are
    computed when somebody asks for them.

    Attributes:
        known_midpoint_radius: Midpoint `[B, *S]` and radius `[1 or B, *S]` where they are stored. A radius that all
            examples share saves a linear operator most of its work.
    """

    __slots__ = ("_lower", "_size", "_total", "_upper", "known_midpoint_radius")

    def __init__(
        self,
        lower: Tensor,
        upper: Tensor,
        *,
        known_midpoint_radius: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        """Bounds from their ends, `[B, *S]` each; a leading size of one means the same for every example."""
        self._lower: Tensor | None = lower
        self._upper: Tensor | None = upper
        self._size: Tensor | None = None
        self._total: Tensor | None = None
        self.known_midpoint_radius = known_midpoint_radius

    @classmethod
    def from_midpoint_radius(cls, midpoint: Tensor, radius: Tensor) -> Interval:
        """Bounds from a midpoint and a radius; the ends are computed when somebody asks for them."""
        found = cls.__new__(cls)
        found._lower = found._upper = found._size = found._total = None
        found.known_midpoint_radius = (midpoint, radius)
        return found

    @property
    def lower(self) -> Tensor:
        """The lower end, `[B, *S]`."""
        if self._lower is None:
            assert self.known_midpoint_radius is not None
            self._lower = self.known_midpoint_radius[0] - self.known_midpoint_radius[1]
        return self._lower

    @property
    def upper(self) -> Tensor:
        """The upper end, `[B, *S]`."""
        if self._upper is None:
            assert self.known_midpoint_radius is not None
            self._upper = self.known_midpoint_radius[0] + self.known_midpoint_radius[1]
        return self._upper

    @property
    def has_ends(self) -> bool:
        """Whether both ends are stored."""
        return self._lower is not None and self._upper is not None

    def __repr__(self) -> str:
        return f"Interval(lower={self.lower}, upper={self.upper})"

    @property
    def midpoint(self) -> Tensor:
        """Midpoint `[B, *S]`, computed so that huge ends do not overflow."""
        return self.lower / 2 + self.upper / 2

    @property
    def radius(self) -> Tensor:
        """Half width `[B, *S]`, never negative for an ordered interval."""
        return self.upper / 2 - self.lower / 2

    def midpoint_radius(self) -> tuple[Tensor, Tensor]:
        """Midpoint and radius, the stored ones where there are such; a radius may have a leading one."""
        if self.known_midpoint_radius is not None:
            return self.known_midpoint_radius
        lower, upper = self.lower, self.upper
        middle = torch.lerp(lower, upper, 0.5)
        return middle, upper - middle

    @property
    def size(self) -> Tensor:
        """The largest absolute value in the box, `[B, *S]`, zero where an end is infinite or not a number; without gradient."""
        if self._size is None:
            known = self.known_midpoint_radius
            if known is not None:
                size = known[0].abs() + known[1]
            else:
                size = torch.maximum(self.lower.abs(), self.upper.abs())
                size = torch.where(size < torch.inf, size, 0)  # not a number where it is selected away
            self._size = size.detach() if size.requires_grad else size
        return self._size

    @property
    def total(self) -> Tensor:
        """The sum of `size` over an example, `[B]`."""
        if self._total is None:
            size = self.size
            self._total = size.sum(tuple(range(1, size.dim()))) if size.dim() > 1 else size
        return self._total

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
