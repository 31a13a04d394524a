"""What heuristics that split neurons see, and what they answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from torch import Tensor

#: From `k` neurons for each subproblem, `[k, B]`, to quick bounds of the halves above and below, `[k, B]` each.
NeuronTrial: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class OpenNeurons:
    """A batch of subproblems that bounds did not close, with the neurons that they can be split at.

    Attributes:
        lower: Lower bounds of the neurons, `[B, N]`.
        upper: Upper bounds.
        points: Where a neuron would be split, `[B, N]`; NaN where it cannot be.
        coefficients: Of the subproblem's linear bound over the neurons' activations, `[B, N]`.
        offsets: What a neuron is where everything before it is zero: the biases, `[B or 1, N]`.
        trial: Quick bounds of the halves, for heuristics that try their choices.
        slopes: How fast the subproblem's bound grows with each lower and with each upper bound, `[B, N]` each, for
            heuristics that ask; the second are not positive where a smaller upper bound helps.
    """

    lower: Tensor
    upper: Tensor
    points: Tensor
    coefficients: Tensor
    offsets: Tensor
    trial: NeuronTrial
    slopes: Callable[[], tuple[Tensor, Tensor]]

    @property
    def splittable(self) -> Tensor:
        """Which neurons can be split, `[B, N]`."""
        return ~self.points.isnan()


class NeuronBranching(Protocol):
    """A heuristic that splits subproblems at a neuron: one half has it below its point, the other above.

    An implementation is a small immutable object; its answer depends on the subproblems alone.
    """

    def choose(self, neurons: OpenNeurons) -> Tensor:
        """The neuron for each subproblem, `[B]`, whole numbers below `N`."""
