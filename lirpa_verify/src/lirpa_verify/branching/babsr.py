"""Splitting ReLUs by what their relaxation costs the bound, and filtering such choices by trying them.

Bunel et al. 2020, "Branch and bound for piecewise linear neural network verification", section 5.2.2 (BaBSR), and De
Palma et al. 2021, "Improved branch and bound for neural network verification via Lagrangian decomposition", section
5.2 (filtered smart branching).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_verify.branching.neurons import OpenNeurons


@dataclass(frozen=True)
class BaBSR:
    """Split the neuron whose relaxation costs most, as its coefficient in the bound and its bias say."""

    def choose(self, neurons: OpenNeurons) -> Tensor:
        """`[B]`."""
        return gains(neurons)[0].argmax(1)


@dataclass(frozen=True)
class FSB:
    """Try the best splits of two estimates in both halves, and keep the one whose worse half is best (kFSB).

    Attributes:
        candidates: How many splits of each estimate are tried.
        larger: Weight of the better half.
    """

    candidates: int = 3
    larger: float = 0.1

    def choose(self, neurons: OpenNeurons) -> Tensor:
        """`[B]`."""
        estimates = gains(neurons)
        count = min(self.candidates, neurons.points.shape[1])
        tried = torch.cat([score.topk(count, 1).indices for score in estimates], 1).T  # [2 · k, B]
        above, below = neurons.trial(tried)
        # A half that is closed is done with; of two open ones the worse counts, and where it ties the other.
        above, below = above.clamp(max=0), below.clamp(max=0)
        reached = above.minimum(below) + self.larger * above.maximum(below)
        can = neurons.splittable.gather(1, tried.T).T
        best = torch.where(can, reached, -torch.inf).argmax(0)
        return tried.gather(0, best.unsqueeze(0)).squeeze(0)


def gains(neurons: OpenNeurons) -> tuple[Tensor, Tensor]:
    """BaBSR's estimate of what a split gains, and the part of it that the upper line's intercept is: `[B, N]` each.

    Where a neuron cannot be split, both are minus one.
    """
    can = neurons.splittable
    low, high = torch.where(can, neurons.lower, -1.0), torch.where(can, neurons.upper, 1.0)
    slope = high / (high - low)  # of the line above a ReLU between its bounds
    A = neurons.coefficients
    lost = A.clamp(max=0) * slope * low  # not negative: A⁻ times the intercept −l·u/(u−l), negated
    active = A * (1 - slope) * neurons.offsets
    inactive = -A * slope * neurons.offsets
    estimate = (lost + active.minimum(inactive)).abs()
    return torch.where(can, estimate, -1.0), torch.where(can, lost, -1.0)
