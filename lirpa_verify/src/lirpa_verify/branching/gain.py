"""Splitting where both halves gain most to first order, for neurons in front of any activation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_verify.branching.neurons import OpenNeurons


@dataclass(frozen=True)
class Gain:
    """Split where both halves gain most, to first order.

    Raising a neuron's lower bound to the split point raises the subproblem's bound by about its slope times the
    distance, and lowering its upper bound likewise. So one gradient of the bound estimates all splits of all
    neurons, whatever their activation. It estimates what GenBaB (Shi et al. 2024, "Neural network verification
    with branch-and-bound for general nonlinearities", section 3.2) puts together from coefficients.

    Attributes:
        larger: Weight of the half that gains more, where the other one hardly tells neurons apart.
    """

    larger: float = 1e-3

    def choose(self, neurons: OpenNeurons) -> Tensor:
        """`[B]`."""
        return self.scores(neurons).argmax(1)

    def scores(self, neurons: OpenNeurons) -> Tensor:
        """What splits gain, `[B, N]`; minus one where there is none."""
        can = neurons.splittable
        lower_slopes, upper_slopes = neurons.slopes()
        above = lower_slopes * (neurons.points - neurons.lower)
        below = upper_slopes * (neurons.points - neurons.upper)
        first, second = (torch.where(can, g, 0).clamp(min=0) for g in (above, below))
        score = first.minimum(second) + self.larger * first.maximum(second)
        return torch.where(can, score, -1)


@dataclass(frozen=True)
class Widest:
    """Split the neuron whose bounds are farthest from its point on the nearer side."""

    def choose(self, neurons: OpenNeurons) -> Tensor:
        """`[B]`."""
        nearer = (neurons.points - neurons.lower).minimum(neurons.upper - neurons.points)
        return torch.where(nearer.isnan(), -1, nearer).argmax(1)
