"""The matrix of a plane under or over softmax: what a score does to its own output and to all others."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lirpa_core.graph import Shape
from lirpa_core.linear.operators import LinearOp
from lirpa_core.rules.relaxations import one_largest, sum_of_others


@dataclass(frozen=True, eq=False)
class OwnMinusOthers(LinearOp):
    """`yᵢ = dᵢ xᵢ − wᵢ Σ_{j≠i} mⱼ xⱼ` along one dimension, with `w, m ≥ 0`; never written out as a matrix.

    Attributes:
        diagonal: `d`, `[B, *S]`.
        weight: `w`, `[B, *S]`, not negative.
        vector: `m`, `[B, *S]`, not negative.
        dim: The dimension along which the elements are mixed, counted from the end (negative).
    """

    diagonal: Tensor
    weight: Tensor
    vector: Tensor
    dim: int

    @property
    def in_shape(self) -> Shape:
        return tuple(self.diagonal.shape[1:])

    @property
    def out_shape(self) -> Shape:
        return self.in_shape

    @property
    def fan_in(self) -> int:
        return 2 * self.diagonal.shape[self.dim] + 2

    @property
    def fan_out(self) -> int:
        return 2 * self.diagonal.shape[self.dim] + 2

    def apply(self, x: Tensor, lead: int = 1) -> Tensor:
        return self.diagonal * x - self.weight * self._others(self.vector * x)

    def apply_abs(self, x: Tensor, lead: int = 1) -> Tensor:
        return self.diagonal.abs() * x + self.weight * self._others(self.vector * x)

    def transpose(self, A: Tensor) -> Tensor:
        return A * self.diagonal - self.vector * self._others(A * self.weight)

    def _others(self, x: Tensor) -> Tensor:
        """Sums of all elements but one, so that the one whose own part is largest loses no digits."""
        return sum_of_others(x, [self.dim], one_largest(self.vector, [self.dim]))
