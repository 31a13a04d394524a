"""Planes under and over the maximum of bounded values: what every maximum, minimum and pooling is bounded by."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

#: How far from its lower to its upper end an element is measured, when the one that stands for the maximum
#: from below is chosen. At a half it has the best value at the centre of the box, at zero the best worst case;
#: a quarter gave the tightest networks, or within 0.3 % of them: pooling (2, 3 by 2, 4) before and after ReLU
#: and tanh, maximum of pairs; eps 0.01, 0.05, 0.2; CROWN-IBP and CROWN; 8 seeds.
_SHARE = 0.25


class MaximumPlanes(NamedTuple):
    """`below · x ≤ max x ≤ above · x + bias` for every `x` of a box.

    Attributes:
        below: `[.., K]`: one at one element, zero elsewhere.
        above: `[.., K]`: between zero and one at one element, zero elsewhere.
        bias: `[..]`; infinite only where the maximum may be.
    """

    below: Tensor
    above: Tensor
    bias: Tensor


def maximum_planes(lower: Tensor, upper: Tensor) -> MaximumPlanes:
    """Planes of the maximum along the last dimension.

    Above: `max x = t + max (xᵢ − t) ≤ t + Σ relu(xᵢ − t)` for every threshold `t`, and each relu lies below its
    chord. At the centre of the box, all `t` between the third and the second largest upper end (but not below
    the largest lower end) give `(first + second) / 2`. No plane is lower there: with the one element at its
    upper end and the other at its lower end, or the other way round, the maximum is the first or the second,
    and the centre is halfway. Taken is the largest of these `t`, the second largest upper end: only one
    element keeps a slope, and the plane's largest value over the box is that of the maximum itself. Widths
    against the middle of these `t`, on the networks of `_SHARE`: 0.97, for pairs 0.87 to 0.98.

    Below: each element is below the maximum; see `_SHARE` for which is taken.

    Args:
        lower: Lower ends, `[.., K]`; −∞ for elements that do not take part.
        upper: Upper ends, `[.., K]`; −∞ for elements that do not take part.
    """
    top, index = upper.topk(min(2, upper.shape[-1]), -1)
    first, index = top[..., :1], index[..., :1]
    t = lower.amax(-1, keepdim=True).maximum(top[..., 1:]) if top.shape[-1] > 1 else lower
    low = lower.gather(-1, index)
    sloped = (first > t) & (low > -torch.inf)
    slope = torch.where(sloped, first - t, 0) / torch.where(sloped, first - low, 1)
    bias = torch.where(sloped, t - slope * torch.where(sloped, low, 0), first)
    zero = torch.zeros_like(upper)
    # Not by torch.lerp, for which an interval from −∞ is not a number.
    best = (lower * (1 - _SHARE) + upper * _SHARE).argmax(-1, keepdim=True)
    return MaximumPlanes(
        zero.scatter(-1, best, 1), zero.scatter(-1, index, slope.to(zero.dtype)), bias.squeeze(-1)
    )


def rivals(lower: Tensor, upper: Tensor) -> Tensor:
    """Elements that may be the largest, and move, where more than one may be: `[.., K]`.

    Tighter ends of the others do not change the planes.
    """
    largest = lower.amax(-1, keepdim=True)
    able = (upper > largest) | (lower == largest)
    return able & (upper > lower) & (able.sum(-1, keepdim=True) > 1)
