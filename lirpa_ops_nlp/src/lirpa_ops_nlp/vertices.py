"""The exact range of values mixed by a softmax over a box of scores ("Vertex-Softmax").

`Σⱼ vⱼ exp(sⱼ) / Σⱼ exp(sⱼ)` is a ratio of two functions that are linear in each `exp(sⱼ)`, hence monotone in each
score while the others stand still: its extrema over a box are at vertices. At the largest value `f` the derivative
by `sⱼ` has the sign of `vⱼ − f`. So the scores of all larger values are at their upper ends, those of all smaller ones
at their lower ends, and of the `n` thresholds between sorted values the best is the maximum (cf. Davoodi and
Rezazadeh 2026, arXiv 2605.10974). Each threshold is a point of the box: none of them is above the maximum.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: Elements of the temporaries that one step may take; few enough to stay in a processor's cache.
CHUNK = 2**18


def largest_weighted_sum(low: Tensor, up: Tensor, values: Tensor, chunk: int = CHUNK) -> Tensor:
    """`max softmax(s) @ values` over `low ≤ s ≤ up`; zero where no score takes part.

    One shift serves all thresholds: their denominators are at least the sum of the lower ends' exponentials, so
    these are divided by the largest of them. What exceeds that by more than the root of the largest number is
    cut there: a score that high makes its value a lower bound of the maximum whatever the others do, up to a
    share of one over that root, which is far below rounding.

    Args:
        low: `[.., q, n]`; −∞ at both ends for scores that are left out.
        up: `[.., q, n]`.
        values: `[.., n, d]`, leading dimensions broadcastable to those of the scores.
        chunk: Elements of the temporaries.

    Returns:
        `[.., q, d]`.
    """
    kept = up != -math.inf  # NaN stays, and comes out
    peak = _finite_max(low, _finite_max(up, low.new_zeros(())))
    bottom = torch.where(kept, low - peak, 0)
    top = torch.where(kept, up - peak, 0).clamp(max=math.log(torch.finfo(low.dtype).max) / 2)
    least = torch.where(kept, bottom.exp(), 0)
    rise = torch.where(
        kept, top.exp() * -torch.expm1(bottom - top), 0
    )  # of the exponentials, free of cancellation
    some = kept.any(-1)
    total = torch.where(some, least.sum(-1), 1)[..., None, None]  # [.., q, 1, 1]
    first = (least @ values).unsqueeze(-1)  # [.., q, d, 1]
    ordered, order = values.mT.sort(-1, descending=True)  # [.., d, n]
    ordered, order = ordered.unsqueeze(-3), order.unsqueeze(-3)
    lead = torch.broadcast_shapes(rise.shape[:-2], values.shape[:-2])
    (q, n), d = rise.shape[-2:], values.shape[-1]
    step = max(1, chunk // max(1, math.prod(lead) * n * d))
    parts = []
    for k in range(0, q, step):
        rows = rise.narrow(-2, k, min(step, q - k)).unsqueeze(-2)
        shape = (*lead, rows.shape[-3], d, n)
        raised = rows.expand(shape).gather(-1, order.expand(shape))
        denominators = total.narrow(-3, k, shape[-3]) + raised.cumsum(-1)
        numerators = first.narrow(-3, k, shape[-3]) + (raised * ordered).cumsum(-1)
        parts.append((numerators / denominators).amax(-1))
    return torch.cat(parts, -2)


def _finite_max(x: Tensor, otherwise: Tensor) -> Tensor:
    largest = x.detach().amax(-1, keepdim=True)
    return torch.where(largest.isfinite(), largest, otherwise)
