"""Upper bounds of the cross entropy over a perturbation set: by margins, and fused into one row.

With the margins `m_i = z_i - z_y` of a classifier's scores, the cross entropy is `log Σ_i exp m_i`, where
`m_y = 0`. Two bounds of its maximum over the set:

unfused
    Each margin is bounded by itself (`K - 1` rows travel), and the bounds are put into the formula, which
    grows with every margin (Wong and Kolter 2018, theorem 2).
fused
    On its interval `[l_i, u_i]` each `exp m_i` lies below its chord. The sum of the chords is *one* affine
    function of the scores: one row travels, whatever the number of classes, and the logarithm follows
    last (Xu et al. 2020, section 3.3).

Neither is the tighter one in general. A chord is above the exponential, which makes the fused bound
looser; the sum of the margins' bounds is above the bound of their sum, which makes it tighter. For two
classes there is only one margin and the fused bound is never below the unfused one. Both are at most the
bound by intervals.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lirpa_core.linear import Interval
from lirpa_core.rules.relaxations import relative_chord
from lirpa_training.bounding import Bounding
from lirpa_training.margins import margin_rows, other_classes

#: Up to so many classes the intervals of the margins go through the last affine layers exactly, with a
#: row for each class; above, they are differences of the scores' intervals, whose cost no one notices.
EXACT_MARGINS_UP_TO = 32


def unfused_cross_entropy(bounds: Bounding, labels: Tensor, beta: float = 1.0) -> Tensor:
    """Upper bound of the cross entropy of each example, from a bound of each margin.

    Args:
        bounds: The bounds of the step.
        labels: Right classes `[B]`.
        beta: Weight of the method's bounds; the rest is the weight of interval bounds (CROWN-IBP's β,
            Zhang et al. 2020, section 3).

    Returns:
        `[B]`.
    """
    return from_margins(lower_margins(bounds, labels, beta))


def lower_margins(bounds: Bounding, labels: Tensor, beta: float = 1.0) -> Tensor:
    """Lower bounds of the margins `z_y - z_i` of the right class over each other one, `[B, K - 1]`."""
    rows = margin_rows(labels, bounds.classes, dtype=bounds.problem.dtype_of(bounds.target))
    by_intervals = bounds.lower(rows, by_intervals=True)
    if beta == 0 or bounds.method.name == "IBP":
        return by_intervals
    better = bounds.lower(rows).maximum(by_intervals)
    return better if beta == 1 else beta * better + (1 - beta) * by_intervals


def from_margins(margins: Tensor) -> Tensor:
    """`log(1 + Σ exp(-margin))` of margins of the right class `[B, K - 1]`: `[B]`."""
    return torch.logsumexp(F.pad(-margins, (1, 0)), dim=1)


def fused_cross_entropy(bounds: Bounding, labels: Tensor, beta: float = 1.0) -> Tensor:
    """Upper bound of the cross entropy of each example, from a bound of one row.

    Args:
        bounds: The bounds of the step.
        labels: Right classes `[B]`.
        beta: As for `unfused_cross_entropy`.

    Returns:
        `[B]`.
    """
    margins = margin_intervals(bounds, labels)
    # exp(m - shift) instead of exp(m), which would overflow; the shift cancels, so it needs no gradient.
    shift = margins.upper.detach().amax(1, keepdim=True).clamp(min=0)  # [B, 1]
    at_upper = (margins.upper - shift).exp()
    total = at_upper.sum(1)  # the chords where every margin is at its upper end
    if beta > 0 and bounds.method.name != "IBP":
        slope = at_upper * relative_chord(margins.width)
        index = labels.unsqueeze(1)
        others = other_classes(labels, bounds.classes)
        row = torch.zeros_like(slope[:, :1]).expand(-1, bounds.classes)
        row = row.scatter(1, others, slope).scatter(1, index, -slope.sum(1, keepdim=True))  # [B, K]
        reached = bounds.upper(row.unsqueeze(1)).squeeze(1)
        below = reached - (slope * margins.upper).sum(1)  # how far the row stays below that corner
        total = total + beta * below.clamp(max=0)
    # A sum of positive numbers; what rounding leaves of it may be less, and more is always sound.
    total = total.clamp(min=torch.finfo(total.dtype).eps)
    shift = shift.squeeze(1)
    return shift + torch.log(torch.exp(-shift) + total)


def margin_intervals(bounds: Bounding, labels: Tensor) -> Interval:
    """Intervals of `z_i - z_y` for each class but the right one, `[B, K - 1]`."""
    if bounds.classes <= EXACT_MARGINS_UP_TO:
        rows = -margin_rows(labels, bounds.classes, dtype=bounds.problem.dtype_of(bounds.target))
        both = bounds.lower(torch.cat([rows, -rows], 1), by_intervals=True)
        lower, negated = both.chunk(2, 1)
        return Interval(lower, -negated)
    scores, index = bounds.scores(), labels.unsqueeze(1)
    others = other_classes(labels, bounds.classes)
    return Interval(
        scores.lower.gather(1, others) - scores.upper.gather(1, index),
        scores.upper.gather(1, others) - scores.lower.gather(1, index),
    )
