"""What subproblems know beyond the set of inputs: on which side of a point some neurons are.

β-CROWN (Wang et al. 2021, "Beta-CROWN: Efficient bound propagation with per-neuron split constraints", theorem 3.1):
where `z ≥ p`, a row is at least `row − β (z − p)` for every `β ≥ 0`, and likewise below `p`. So multipliers of the
constraints enter a backward pass as coefficients over the split neurons, and whatever chose them, the bound holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_core.linear.coefficients import Coefficients, DenseCoefficients
from lirpa_verify.search.neurons import Neurons
from lirpa_verify.search.subproblems import Subproblems


@dataclass(frozen=True, eq=False)
class Constraints:
    """The splits of a batch of subproblems as inequalities `sign · (z − point) ≥ 0`.

    Attributes:
        neurons: The neurons that can be split.
        neuron: Numbers of the split ones, `[B, D]`.
        sign: One above the point, minus one below it, zero for entries that are not used, `[B, D]`.
        point: The points, `[B, D]`; zero for entries that are not used.
        size: The largest absolute value of the neuron in the subproblem, `[B, D]`.
        unit: What multipliers are in units of, `[B, D]`, positive.
        nodes: Nodes of which any neuron is split.
    """

    neurons: Neurons
    neuron: Tensor
    sign: Tensor
    point: Tensor
    size: Tensor
    unit: Tensor
    nodes: frozenset[str]

    @classmethod
    def of(cls, neurons: Neurons, parts: Subproblems, units: Tensor, dtype: torch.dtype) -> Constraints:
        """The constraints of some subproblems.

        Args:
            neurons: The neurons.
            parts: The subproblems.
            units: About the size of coefficients over each neuron, `[N]`.
            dtype: The type to compute in.
        """
        above, below = parts.lower.isfinite(), parts.upper.isfinite()
        sign = above.to(dtype) - below.to(dtype)
        point = torch.where(above, parts.lower, torch.where(below, parts.upper, 0)).to(dtype)
        low, high = parts.limits(neurons.lower, neurons.upper)
        size = low.abs().maximum(high.abs()).gather(1, parts.neuron).to(dtype)
        split = parts.neuron[above | below].unique()
        nodes = frozenset(
            layer.name
            for layer, first in zip(neurons.layers, neurons.firsts, strict=True)
            if bool(((split >= first) & (split < first + layer.size)).any())
        )
        return cls(neurons, parts.neuron, sign, point, size, units.to(dtype)[parts.neuron], nodes)

    def coefficients(self, beta: Tensor) -> Mapping[str, Coefficients]:
        """What multipliers `[B, D]` add to the coefficients over the neurons, by node: `[1, B, *S]` each."""
        sizes = [layer.size for layer in self.neurons.layers]
        flat = beta.new_zeros(len(beta), sum(sizes)).scatter_add(
            1, self.neuron, -self.sign * self.unit * beta
        )
        return {
            layer.name: DenseCoefficients(part.reshape(1, -1, *layer.shape))
            for layer, part in zip(self.neurons.layers, flat.split(sizes, 1), strict=True)
            if layer.name in self.nodes
        }

    def constant(self, beta: Tensor, *, outward: bool) -> Tensor:
        """What multipliers add to the bound, `[B]`, rounded down where that is asked for.

        A neuron that is split twice has the sum of two multipliers as its coefficient, which is rounded too.
        """
        beta = self.unit * beta
        total = (self.sign * beta * self.point).sum(1)
        if not outward:
            return total
        rounding = (beta.shape[1] + 8) * torch.finfo(beta.dtype).eps
        return total - rounding * (beta * (self.point.abs() + self.size)).sum(1).detach()
