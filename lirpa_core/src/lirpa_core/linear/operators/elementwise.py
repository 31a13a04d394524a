"""Multiplication of every element by a number of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_core.graph import Shape
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators.base import LinearOp
from lirpa_core.linear.operators.broadcasting import align, sum_to
from lirpa_core.linear.relax import unobserved


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

    @property
    def out_shape(self) -> Shape:
        return tuple(self.slope.shape[1:])

    @property
    def monomial(self) -> bool:
        return self.shape == self.out_shape

    @property
    def fan_in(self) -> int:
        return 1

    @property
    def fan_out(self) -> int:
        return max(1, math.prod(self.slope.shape[1:]) // max(1, math.prod(self.shape)))

    @property
    def splits_ends(self) -> bool:
        return True

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

    def apply_end(self, lower: Tensor, upper: Tensor, lead: int = 1, *, upper_end: bool = False) -> Tensor:
        """See `LinearOp.apply_end`: one product, without a choice of ends where all slopes have one sign."""
        rank = self.slope.dim() - 1
        low, up = align(lower, lead, rank), align(upper, lead, rank)
        first, second = (up, low) if upper_end else (low, up)
        positive = self.slope >= 0
        if unobserved(self.slope, lower, upper) and bool(positive.all()):
            return self.slope * first
        return self.slope * torch.where(positive, first, second)

    def interval(self, x: Interval, bias: Tensor | None = None) -> Interval:
        """See `LinearOp.interval`: from the ends, unless midpoint and radius are what is stored."""
        if x.known_midpoint_radius is not None and not x.has_ends:
            return super().interval(x, bias)
        lower, upper = self.apply_split(x.lower, x.upper)
        return Interval(lower, upper) if bias is None else Interval(lower + bias, upper + bias)
