"""Cutting off the parts of boxes where linear bounds exclude every violation.

Zhou et al. 2025, "Clip-and-Verify: Linear constraint-driven domain clipping for accelerating neural network
verification". A violation needs all its rows to be at most zero, and a row is at least `A·x + b`; so
every point with `A·x + b > 0` can go. What is left of a box is again put into a box.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lirpa_verify.bounding import LinearBounds
from lirpa_verify.rounding import is_positive, slack


def clip(
    lower: Tensor, upper: Tensor, bounds: LinearBounds, rows: Tensor, passes: int = 2
) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes without what the rows of one violation exclude.

    Args:
        lower: Lower limits `[B, N]`.
        upper: Upper limits.
        bounds: Linear bounds of all rows over these boxes.
        rows: Which rows the violation needs, `[R]`.
        passes: How often all inputs are clipped.

    Returns:
        New limits `[B, N]`, and which boxes hold no violation at all, `[B]`; limits of those mean nothing.
    """
    A, bias = bounds.A[:, rows], bounds.bias[:, rows]  # [B, r, N], [B, r]
    empty = torch.zeros(lower.shape[0], dtype=torch.bool)
    for _ in range(passes):
        low, high = lower.unsqueeze(1), upper.unsqueeze(1)
        least = torch.where(A > 0, A * low, A * high)  # what each input adds at least, [B, r, N]
        scale = (A.abs() * low.abs().maximum(high.abs())).sum(2) + bias.abs()  # [B, r]
        total = least.sum(2) + bias
        empty |= is_positive(total, scale).any(1)
        # A_i·x_i ≤ −b − Σ_{j≠i} min A_j·x_j, and a little more for what rounding may have taken.
        room = (slack(scale) - total).unsqueeze(2) + least
        edge = room / A
        lower = torch.where(A < 0, edge, -torch.inf).amax(1).maximum(lower)
        upper = torch.where(A > 0, edge, torch.inf).amin(1).minimum(upper)
        empty |= (lower > upper).any(1)
        upper = upper.maximum(lower)
    return lower, upper, empty
