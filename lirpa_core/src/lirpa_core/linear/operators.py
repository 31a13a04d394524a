"""Linear operators between the values of two nodes: what a relaxation is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lirpa_core.graph import Shape
from lirpa_core.linear.interval import Interval


class LinearOp(ABC):
    """A linear map from one example's `S_in` to its `S_out`, possibly different in each example."""

    @property
    @abstractmethod
    def in_shape(self) -> Shape:
        """`S_in`."""

    @property
    def key(self) -> Any:
        """What kernels for structured coefficients are looked up by: usually the ATen operator."""
        return type(self)

    @abstractmethod
    def apply(self, x: Tensor, lead: int = 1) -> Tensor:
        """`[*L, B, *S_in]` to `[*L, B, *S_out]`, with `lead` leading dimensions, batch included."""

    @abstractmethod
    def apply_abs(self, x: Tensor, lead: int = 1) -> Tensor:
        """Like `apply`, with every coefficient replaced by its absolute value."""

    @abstractmethod
    def transpose(self, A: Tensor) -> Tensor:
        """Pull coefficients back: `[R, B, *S_out]` to `[R, B, *S_in]`."""

    def apply_split(self, lower: Tensor, upper: Tensor, lead: int = 1) -> tuple[Tensor, Tensor]:
        """`(W⁺·lower + W⁻·upper, W⁺·upper + W⁻·lower)`, in two passes over `W` rather than four."""
        middle, spread = Interval(lower, upper).midpoint_radius()
        center, radius = self.apply(middle, lead), self.apply_abs(spread, lead)
        return center - radius, center + radius


@dataclass(frozen=True, eq=False)
class Diagonal(LinearOp):
    """`y = slope * x`, elementwise; `x` may be broadcast to the shape of the slope.

    Attributes:
        slope: `[B, *S_out]`; a leading one is shared by all examples.
        shape: `S_in`, broadcastable to `S_out`.
    """

    slope: Tensor
    shape: Shape

    @property
    def in_shape(self) -> Shape:
        return self.shape

    def apply(self, x: Tensor, lead: int = 1) -> Tensor:
        return self.slope * align(x, lead, self.slope.dim() - 1)

    def apply_abs(self, x: Tensor, lead: int = 1) -> Tensor:
        return self.slope.abs() * align(x, lead, self.slope.dim() - 1)

    def transpose(self, A: Tensor) -> Tensor:
        return sum_to(A * self.slope, self.shape, lead=2)

    def apply_split(self, lower: Tensor, upper: Tensor, lead: int = 1) -> tuple[Tensor, Tensor]:
        rank = self.slope.dim() - 1
        low, up = align(lower, lead, rank), align(upper, lead, rank)
        positive = self.slope >= 0
        return self.slope * torch.where(positive, low, up), self.slope * torch.where(positive, up, low)


def align(x: Tensor, lead: int, rank: int) -> Tensor:
    """Insert singleton dimensions after the leading ones, so that trailing broadcasting works.

    Args:
        x: `[*L, *S]` with `lead` leading dimensions.
        lead: Number of leading dimensions.
        rank: Wanted rank of `S`.
    """
    missing = rank - (x.dim() - lead)
    if missing <= 0:
        return x
    return x.reshape(*x.shape[:lead], *([1] * missing), *x.shape[lead:])


def sum_to(x: Tensor, shape: Shape, lead: int) -> Tensor:
    """Undo broadcasting: sum `[*L, *S]` down to `[*L, *shape]`."""
    extra = x.dim() - lead - len(shape)
    dims = list(range(lead, lead + extra))
    dims += [lead + extra + i for i, n in enumerate(shape) if n == 1 and x.shape[lead + extra + i] != 1]
    if not dims:
        return x
    return x.sum(dims).reshape(*x.shape[:lead], *shape)
