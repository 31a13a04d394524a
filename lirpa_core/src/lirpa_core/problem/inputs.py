"""The perturbed inputs of a problem: model inputs, or weights."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lirpa_core.linear.coefficients import Coefficients
from lirpa_core.linear.interval import Interval
from lirpa_core.perturbations.base import Perturbation


@dataclass(frozen=True, eq=False)
class PerturbedInput:
    """A leaf of the graph, a model input or a weight, that a perturbation is attached to.

    Attributes:
        name: Node name.
        x: The clean value, batch first and without the graph's singleton batch dimension: `[B, *S]`.
        perturbation: The set around it, its tensors in the same layout.
        batch_dim: Where the graph's shape has that singleton; None for weights.
    """

    name: str
    x: Tensor
    perturbation: Perturbation
    batch_dim: int | None

    @property
    def is_box(self) -> bool:
        """Whether the set is its own hull, so that intervals lose nothing at the input."""
        return self.perturbation.is_box

    def laid_out(self, hull: Interval) -> Interval:
        """A box around the input, examples first, in the graph's layout `[B, *S]`."""
        if self.batch_dim is None:
            return hull
        dim, stored = self.batch_dim + 1, hull.known_midpoint_radius
        if stored is not None:
            stored = (stored[0].unsqueeze(dim), stored[1].unsqueeze(dim))
        return Interval(hull.lower.unsqueeze(dim), hull.upper.unsqueeze(dim), known_midpoint_radius=stored)

    def examples_first(self, A: Coefficients) -> Coefficients:
        """Coefficients in the graph's layout for the perturbation."""
        return A if self.batch_dim is None else A.squeeze(self.batch_dim)
