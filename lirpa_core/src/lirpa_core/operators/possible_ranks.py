"""Which ranks elements of a line may have, and which elements may have a rank, where each is known between two ends.

An element has at least as many elements below it as surely are, and at most as many as possibly are. Equal elements may
come in either order: PyTorch leaves that open, for most of its operators.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Ranks(NamedTuple):
    """The least and the greatest number of elements of the line that are below each, `[*, n]` both."""

    least: Tensor
    greatest: Tensor

    def may_have(self, ranks: Tensor) -> Tensor:
        """Which elements may have which rank.

        Args:
            ranks: `[m]`.

        Returns:
            `[*, m, n]`.
        """
        ranks = ranks.unsqueeze(-1)
        return (self.least.unsqueeze(-2) <= ranks) & (ranks <= self.greatest.unsqueeze(-2))


def possible_ranks(lower: Tensor, upper: Tensor) -> Ranks:
    """Ranks that elements of lines may have.

    Args:
        lower: Lower ends, `[*, n]`.
        upper: Upper ends, `[*, n]`.
    """
    lower, upper = lower.detach().contiguous(), upper.detach().contiguous()
    below = torch.searchsorted(upper.sort(-1).values, lower)  # surely below: their upper ends are
    not_above = torch.searchsorted(lower.sort(-1).values, upper, right=True)
    return Ranks(below, not_above - 1)
