"""What structures of coefficients start from: everything by way of dense coefficients."""

from __future__ import annotations

from torch import Tensor

from lirpa_core.graph import Shape
from lirpa_core.linear.coefficients.base import Coefficients, OptionalSides, Sides
from lirpa_core.linear.coefficients.dense import DenseCoefficients


class StructuredCoefficients(Coefficients):
    """Coefficients that are not stored in full.

    A new structure starts with `rows`, `batch`, `shape` and `to_dense` alone, and gains speed one override at a time.
    """

    def dense(self) -> Coefficients:
        return DenseCoefficients(self.to_dense())

    def dot(self, value: Tensor) -> Tensor:
        return self.dense().dot(value)

    def split_dot(self, lower: Tensor | None, upper: Tensor | None) -> Tensor:
        return self.dense().split_dot(lower, upper)

    def dual_norm(self, q: float, weight: Tensor | None = None) -> Tensor:
        return self.dense().dual_norm(q, weight)

    def scale(self, factor: Tensor) -> Coefficients:
        return self.dense().scale(factor)

    def relax_affine(self, slopes: Sides, biases: OptionalSides) -> tuple[Coefficients, Tensor | None]:
        return self.dense().relax_affine(slopes, biases)

    def split(self) -> tuple[Coefficients, Coefficients]:
        return self.dense().split()

    def negate(self) -> Coefficients:
        return self.dense().negate()

    def with_negated(self) -> Coefficients:
        return self.dense().with_negated()

    def take(self, start: int, stop: int) -> Coefficients:
        return self.dense().take(start, stop)

    def pick(self, index: Tensor) -> Coefficients:
        return self.dense().pick(index)

    def sum_to(self, shape: Shape) -> Coefficients:
        return self if shape == self.shape else self.dense().sum_to(shape)

    def squeeze(self, dim: int) -> Coefficients:
        return self.dense().squeeze(dim)
