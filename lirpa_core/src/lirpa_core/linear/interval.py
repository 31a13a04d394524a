"""Elementwise lower and upper bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, overload

import torch
from torch import Tensor


class _WhenAsked:
    """A tensor that is computed when it is first read, and from then on is an attribute like any other.

    What `functools.cached_property` does, whose lock Dynamo cannot trace in Python 3.11.
    """

    def __init__(self, compute: Callable[[Any], Tensor]) -> None:
        self.compute, self.name, self.__doc__ = compute, compute.__name__, compute.__doc__

    @overload
    def __get__(self, interval: None, owner: type | None = None) -> Self: ...
    @overload
    def __get__(self, interval: object, owner: type | None = None) -> Tensor: ...
    def __get__(self, interval: object, owner: type | None = None) -> Self | Tensor:
        if interval is None:
            return self
        found = self.compute(interval)
        setattr(interval, self.name, found)
        return found


class Interval:
    """Elementwise bounds of one node.

    An interval is stored by its ends, by its midpoint and radius, or by both. Ends that are not stored are
    computed when somebody asks for them.

    Attributes:
        known_midpoint_radius: Midpoint `[B, *S]` and radius `[1 or B, *S]` where they are stored. A radius that all
            examples share saves a linear operator most of its work.
    """

    def __init__(
        self,
        lower: Tensor,
        upper: Tensor,
        *,
        known_midpoint_radius: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        """Bounds from their ends, `[B, *S]` each; a leading size of one means the same for every example."""
        self.lower, self.upper = lower, upper
        self.known_midpoint_radius = known_midpoint_radius

    @classmethod
    def from_midpoint_radius(cls, midpoint: Tensor, radius: Tensor) -> Interval:
        """Bounds from a midpoint and a radius; the ends are computed when somebody asks for them."""
        found = cls.__new__(cls)
        found.known_midpoint_radius = (midpoint, radius)
        return found

    @_WhenAsked
    def lower(self) -> Tensor:
        """The lower end, `[B, *S]`."""
        assert self.known_midpoint_radius is not None
        return self.known_midpoint_radius[0] - self.known_midpoint_radius[1]

    @_WhenAsked
    def upper(self) -> Tensor:
        """The upper end, `[B, *S]`."""
        assert self.known_midpoint_radius is not None
        return self.known_midpoint_radius[0] + self.known_midpoint_radius[1]

    @property
    def has_ends(self) -> bool:
        """Whether both ends are stored."""
        return "lower" in self.__dict__ and "upper" in self.__dict__

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

    @_WhenAsked
    def size(self) -> Tensor:
        """The largest absolute value in the box, `[B, *S]`, zero where an end is infinite or not a number; without gradient."""
        known = self.known_midpoint_radius
        if known is not None:
            size = known[0].abs() + known[1]
        else:
            size = torch.maximum(self.lower.abs(), self.upper.abs())
            size = torch.where(size < torch.inf, size, 0.0)
        return size.detach() if size.requires_grad else size

    @_WhenAsked
    def total(self) -> Tensor:
        """The sum of `size` over an example, `[B]`."""
        size = self.size
        return size.sum(tuple(range(1, size.dim()))) if size.dim() > 1 else size

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
