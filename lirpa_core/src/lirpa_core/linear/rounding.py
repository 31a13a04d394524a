"""Rounding of sums of products: how far a computed one may be from the exact one.

A sum of `n` products that is computed in floating point, in whatever order and with or without fused multiply-add,
differs from the exact one by at most `γ_n Σ|aᵢ||xᵢ|`, with `γ_n = n u / (1 − n u)` and `u` the unit roundoff (Higham
2002, *Accuracy and Stability of Numerical Algorithms*, sec. 3.1 and 4.2), unless it underflows. Equivalently it is the
exact sum of products whose factors moved by a relative `γ_n`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from lirpa_core.linear.interval import Interval

#: What the error of an interval rule is relative to: there is none (values are only chosen and moved); each end's
#: own size (each end is computed from ends alone); or the largest absolute value in the box (midpoint and radius).
RelativeTo: TypeAlias = Literal["exact", "ends", "box"]


@dataclass(frozen=True)
class Accuracy:
    """How accurately the rule of one call computes its numbers.

    Attributes:
        terms: Roundings behind one number, such as the summands of a sum.
        relative_to: What the error of an interval is relative to.
        absolute: Whether the error of an output is relative to the operand as well as to the output, as where
            `x · (1 + erf x)` cancels.
        unit: Whether planes, and intervals relative to a box, are off by units of one, however small the output is: as the
            logarithm of a sum of exponentials the largest of which is one.
        underflows: Whether an interval may be off by what underflow takes; not where the rule takes care of that, so
            that what is exactly zero stays so.
        multiplies: Whether an output is the product of two operands' elements: then an end that is zero has its sign
            from theirs.
        floor: The least size of an operand that an `absolute` error is relative to.
        reach: The largest one.
    """

    terms: int
    relative_to: RelativeTo = "box"
    absolute: bool = False
    unit: bool = False
    underflows: bool = True
    multiplies: bool = False
    floor: float = 0.0
    reach: float = math.inf

    def cancelling(self, size: Tensor) -> Tensor:
        """What an `absolute` error is relative to, of operands of a size."""
        return size if self.floor == 0 and math.isinf(self.reach) else size.clamp(self.floor, self.reach)


@lru_cache(maxsize=4096)
def gamma(terms: int, dtype: torch.dtype) -> float:
    """`γ_n` of so many roundings, enlarged to hold when it is itself used in rounded sums; infinite if it is not small.

    In the types of 16 bits sums are made in float32 and rounded once, wherever PyTorch is not told to reduce them.
    """
    if dtype in (torch.float16, torch.bfloat16):
        return gamma(terms, torch.float32) + 2 * torch.finfo(dtype).eps
    small = terms * torch.finfo(dtype).eps / 2
    return math.inf if small > 0.125 else small / (1 - small) * (1 + 4 * small) * (1 + 1e-15)


@lru_cache(maxsize=16)
def tiny(dtype: torch.dtype) -> float:
    """What one product may lose to underflow, numbers below the normal ones flushed to zero or not."""
    return float(torch.finfo(dtype).tiny)


def fixed(x: Tensor) -> Tensor:
    """A number as a constant for the gradient."""
    return x.detach() if x.requires_grad else x


def widened(x: Interval, relative_to: RelativeTo, factor: float, least: Tensor | float = 0.0) -> Interval:
    """A box that holds each of its numbers after a relative change by `factor` and an absolute one by `least`.

    Args:
        x: The box, `[B, *S]`.
        relative_to: What the change is relative to. A change relative to an end keeps the end's sign.
        factor: The relative change.
        least: The absolute change.
    """
    if relative_to == "exact":
        return x
    if not factor < 1:
        infinite = torch.full_like(x.lower, torch.inf)
        return Interval(x.lower - infinite, x.upper + infinite)
    if relative_to == "box":
        middle, radius = x.midpoint_radius()
        size = x.size if x.known_midpoint_radius is not None else fixed(middle).abs() + fixed(radius)
        more = torch.add(radius, size, alpha=factor)
        some = isinstance(least, Tensor) or least != 0
        return Interval.from_midpoint_radius(middle, more + least if some else more)
    lower, upper = x.lower, x.upper
    # Products of ends, so that infinite ones stay; of two numbers `where` would make a tensor in float32.
    low = torch.where(lower > 0, lower * (1 - factor), lower * (1 + factor)) - least
    up = torch.where(upper > 0, upper * (1 + factor), upper * (1 - factor)) + least
    if isinstance(least, Tensor) or least != 0:  # numbers that underflow keep their sign
        low = torch.where(lower.signbit(), low, low.clamp(min=0))
        up = torch.where(upper.signbit(), up.clamp(max=0), up)
    return Interval(low, up)


def without_overflow(x: Interval) -> Interval:
    """A box in which a lower end that overflowed upwards, or an upper one downwards, bounds nothing.

    An infinity that came from an overflow is no bound on its own side: the exact end is finite, and where a sum
    overflowed on its way, of any size. Boxes by midpoint and radius stay as they are.

    Args:
        x: The box of finite numbers, `[B, *S]`.
    """
    if x.known_midpoint_radius is not None:
        return x
    lower, upper = x.lower, x.upper
    infinity = torch.inf
    return Interval(
        torch.where(lower == infinity, -infinity, lower),
        torch.where(upper == -infinity, infinity, upper),
    )
