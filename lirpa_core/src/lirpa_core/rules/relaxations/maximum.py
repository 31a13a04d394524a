"""Planes under and over the maximum of bounded values: what every maximum, minimum and pooling is bounded by."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lirpa_core.rules.base import Slope
from lirpa_core.rules.relaxations.mixtures import weights_of

#: Elements whose middles are less than this share of the best one's radius below its middle are mixed into the plane
#: below. At zero it is the highest plane at the centre of the box; the mixture has smaller coefficients further back,
#: because those of several elements cancel in part. Widths of CROWN against those with the one element of the largest
#: `¾ l + ¼ u`, which was taken before: convolution and pooling (2, 3 and 4 with padding 1), before and after ReLU and
#: tanh, 0.998, 0.986, 0.963 and 0.935 at eps 0.02, 0.1, 0.3 and 1; of minima of maxima 1.0, 0.99, 0.94 and 0.79; at most
#: 1.01 on any. A fifth gains half of that; at a half, networks of twelve channels lose up to 1.02.
_REACH = 0.35


class MaximumPlanes(NamedTuple):
    """`below · x ≤ max x ≤ above · x + bias` for every `x` of a box.

    Attributes:
        below: `[.., K]`: from zero to one, and one together.
        above: `[.., K]`: from zero to one; of the default planes zero at all but one element.
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
    element keeps a slope, and the plane's largest value over the box is that of the maximum itself. All faces of the
    concave envelope have this form, with `t` an upper end or the largest lower end: the envelope is what couplings that
    keep the elements' upper ends apart attain. Widths against the middle of these `t`, on the networks of `_REACH`: 0.97,
    for pairs 0.87 to 0.98.

    Below: each element is below the maximum, and so is every mixture. Taken are the element with the largest middle and
    those whose middles are nearly as large, the more the nearer they are (`_REACH`).

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
    above = torch.zeros_like(upper).scatter(-1, index, slope.to(upper.dtype))
    return MaximumPlanes(_shares_below(lower, upper), above, bias.squeeze(-1))


def _shares_below(lower: Tensor, upper: Tensor) -> Tensor:
    """Shares of the elements in the plane below, `[.., K]`; see `_REACH`. None to what cannot be the largest."""
    able = _able(lower, upper)
    taking_part = able & (lower > -torch.inf)
    # Halves, so that no sum overflows; not by torch.lerp, for which an interval from −∞ is not a number.
    middle = torch.where(taking_part, lower / 2 + upper / 2, -torch.inf)
    radius = torch.where(taking_part, upper / 2 - lower / 2, 0)
    best = middle.argmax(-1, keepdim=True)
    one = torch.zeros_like(upper).scatter(-1, best, 1)
    behind = torch.where(taking_part, middle - middle.gather(-1, best), 0)
    reach = _REACH * radius.gather(-1, best)
    shares = torch.where(taking_part, (behind + reach).clamp(min=0), 0)
    total = shares.sum(-1, keepdim=True)
    several = (total > 0) & (total < torch.inf)
    return torch.where(several, shares / torch.where(several, total, 1), one)


def _able(lower: Tensor, upper: Tensor) -> Tensor:
    """Elements that may be the largest, `[.., K]`."""
    largest = lower.amax(-1, keepdim=True)
    return (upper > largest) | (lower == largest)


def maximum_choices(lower: Tensor, upper: Tensor) -> tuple[Slope, Slope]:
    """What `maximum_planes_with` lets an optimizer choose, at the values of `maximum_planes`.

    Args:
        lower: Lower ends, `[B, *P, K]`; −∞ for elements that do not take part.
        upper: Upper ends, likewise.

    Returns:
        The shares of the elements in the plane below, `[B, *P, K]`, and the threshold of the plane above, `[B, *P]`.
    """
    start = maximum_planes(lower, upper).below
    largest = lower.amax(-1, keepdim=True)
    able = _able(lower, upper)
    able = able & (able.sum(-1, keepdim=True) > 1)
    least, greatest = torch.where(able, 0, start), torch.where(able, 1, start)
    threshold = _second(upper, largest)
    return (
        Slope(start, least, greatest),
        Slope(threshold.squeeze(-1), largest.squeeze(-1), threshold.squeeze(-1)),
    )


def maximum_planes_with(lower: Tensor, upper: Tensor, shares: Tensor, threshold: Tensor) -> MaximumPlanes:
    """Planes of the maximum along the last dimension, sound for any shares and any threshold.

    Below, `Σ wᵢ xᵢ` with `w ≥ 0` and `Σ wᵢ = 1`. Above, `t + Σ chordᵢ` (see `maximum_planes`); of two elements, the
    planes for `t` from the largest lower to the second largest upper end are all mixtures of the two faces of the
    concave envelope.

    Args:
        lower: Lower ends, `[.., K]`; −∞ for elements that do not take part.
        upper: Upper ends, likewise.
        shares: Of the elements in the plane below, from zero on, `[.., K]`; they need not add up to one.
        threshold: `t`, `[..]`.
    """
    taking_part = lower > -torch.inf
    largest = lower.amax(-1, keepdim=True)
    t = threshold.unsqueeze(-1).minimum(_second(upper, largest)).maximum(largest)
    low = torch.where(taking_part, lower, 0)
    sloped = (upper > t) & taking_part
    slope = torch.where(sloped, upper - t, 0) / torch.where(sloped, upper - low, 1)
    bias = t.squeeze(-1) - (slope * low).sum(-1)
    below = weights_of(torch.where(taking_part, shares, 0), maximum_planes(lower, upper).below)
    return MaximumPlanes(below, slope, bias)


def _second(upper: Tensor, largest: Tensor) -> Tensor:
    """The second largest upper end, raised to the largest lower one, `[.., 1]`."""
    if upper.shape[-1] == 1:
        return largest
    return upper.topk(2, -1).values[..., 1:].maximum(largest)


def rivals(lower: Tensor, upper: Tensor) -> Tensor:
    """Elements that may be the largest, and move, where more than one may be: `[.., K]`.

    Tighter ends of the others do not change the planes.
    """
    able = _able(lower, upper)
    return able & (upper > lower) & (able.sum(-1, keepdim=True) > 1)
