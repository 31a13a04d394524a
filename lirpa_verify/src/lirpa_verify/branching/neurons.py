"""What heuristics that split neurons see, and what they answer; and those of this package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class OpenNeurons:
    """A batch of subproblems that bounds did not close, with the neurons that they can be split at.

    Attributes:
        lower: Lower bounds of the neurons, `[B, N]`.
        upper: Upper bounds.
        points: Where a neuron would be split, `[B, N]`; NaN where it cannot be.
        lower_slopes: How fast the subproblem's bound grows with each lower bound, `[B, N]`.
        upper_slopes: How fast it grows with each upper bound; not positive where a smaller one helps.
    """

    lower: Tensor
    upper: Tensor
    points: Tensor
    lower_slopes: Tensor
    upper_slopes: Tensor


class NeuronBranching(Protocol):
    """A heuristic that splits subproblems at a neuron: one half has it below its point, the other above.

    An implementation is a small immutable object; its answer depends on the subproblems alone.
    """

    def choose(self, neurons: OpenNeurons) -> Tensor:
        """The neuron for each subproblem, `[B]`, whole numbers below `N`."""


@dataclass(frozen=True)
class Gain:
    """Split where both halves gain most, to first order.

    Raising a neuron's lower bound to the split point raises the subproblem's bound by about its slope times the
    distance, and lowering its upper bound likewise. So one gradient of the bound estimates all splits of all
    neurons, whatever their activation. It estimates what BaBSR (Bunel et al. 2020, "Branch and bound for piecewise
    linear neural network verification", section 5.2.2) and GenBaB (Shi et al. 2024, "Neural network verification
    with branch-and-bound for general nonlinearities", section 3.2) put together from coefficients.

    Attributes:
        larger: Weight of the half that gains more, where the other one hardly tells neurons apart.
    """

    larger: float = 1e-3

    def choose(self, neurons: OpenNeurons) -> Tensor:
        """`[B]`."""
        can = ~neurons.points.isnan()
        above = neurons.lower_slopes * (neurons.points - neurons.lower)
        below = neurons.upper_slopes * (neurons.points - neurons.upper)
        first, second = (torch.where(can, g, 0).clamp(min=0) for g in (above, below))
        score = first.minimum(second) + self.larger * first.maximum(second)
        return torch.where(can, score, -1).argmax(1)


@dataclass(frozen=True)
class Widest:
    """Split the neuron whose bounds are farthest from its point on the nearer side."""

    def choose(self, neurons: OpenNeurons) -> Tensor:
        """`[B]`."""
        nearer = (neurons.points - neurons.lower).minimum(neurons.upper - neurons.points)
        return torch.where(nearer.isnan(), -1, nearer).argmax(1)
