"""Rows of a matrix that is applied at each position: what stands before a linear layer over tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lirpa_core.graph import Shape
from lirpa_core.linear.coefficients.base import Coefficients, OptionalSides, Sides
from lirpa_core.linear.coefficients.selected_rows import SelectedRows
from lirpa_core.linear.coefficients.structured import StructuredCoefficients
from lirpa_core.linear.norms import scaled_norm
from lirpa_core.linear.relax.gathering import take_rows


@dataclass(frozen=True, eq=False)
class PositionwiseCoefficients(StructuredCoefficients):
    """Each row reads one output of one matrix at one position: `row r = scale · weight[j] · (factor · x)[p]`.

    A value `[*L, k]` is read as `P` vectors at positions; a row touches one of them. Rows are selected elements
    of the images `[P, n]` of these vectors, so a set in which positions vary on their own can map its vectors
    once, and needs no coefficients.

    Attributes:
        selected: The rows over the images, of shape `(P, n)`.
        weight: `[n, k]`, shared by positions and examples.
        positions: `[P]`: where the vectors are in the flattened `L`. Other positions have no coefficients.
        factor: `[B, P, k]`, multiplied to the vectors first; a batch of one is shared; None: ones.
        size: `S`, which ends in `k`.
    """

    selected: SelectedRows
    weight: Tensor
    positions: Tensor
    factor: Tensor | None
    size: Shape

    @classmethod
    def of_matrix(cls, rows: SelectedRows, weight: Tensor, size: Shape) -> PositionwiseCoefficients:
        """Selected rows behind `x @ weight.T`.

        Args:
            rows: Rows over the product, whose shape ends in `n`.
            weight: `[n, k]`.
            size: Shape of one example of `x`, ending in `k`.
        """
        count = math.prod(size[:-1])
        selected = rows.reshape((count, weight.shape[0]))
        return cls(selected, weight, torch.arange(count, device=weight.device), None, size)

    @property
    def rows(self) -> int:
        return self.selected.rows

    @property
    def batch(self) -> int:
        return max(self.selected.batch, 1 if self.factor is None else self.factor.shape[0])

    @property
    def shape(self) -> Shape:
        return self.size

    @property
    def numel(self) -> int:
        return self.weight.numel() + self.selected.numel

    def images(self, value: Tensor, lead: int = 1) -> Tensor:
        """The vectors of a value mapped by the matrix: `[*L, B, *S]` to `[*L, B, P, n]`."""
        vectors = self._vectors(value, lead)
        if self.factor is not None:
            vectors = vectors * self.factor
        return _product(vectors, self.weight.mT)

    def to_dense(self) -> Tensor:
        n, k = self.weight.shape
        index = self.selected.index.expand(self.rows, self.batch)
        place, scale = index // n, self.selected.values.unsqueeze(2)
        if scale.numel() == 1 and n <= index.numel():  # the smaller of the two is multiplied
            part = take_rows(self.weight * scale[0], index % n)  # [R, B, k]
        else:
            part = take_rows(self.weight, index % n) * scale
        if self.factor is not None:
            example = torch.arange(self.factor.shape[0], device=index.device)
            part = part * self.factor[example, place]
        count = math.prod(self.size[:-1])
        if count != 1:
            at = self.positions[place][..., None, None].expand(-1, -1, 1, k)
            zeros = part.new_zeros(*part.shape[:2], count, k)
            part = zeros.scatter(2, at, part.unsqueeze(2))
        return part.reshape(*part.shape[:2], *self.size)

    def dot(self, value: Tensor) -> Tensor:
        return self.selected.dot(self.images(value))

    def split_dot(self, lower: Tensor | None, upper: Tensor | None) -> Tensor:
        if lower is None or upper is None:
            return self.dense().split_dot(lower, upper)
        low, up = lower / 2, upper / 2  # divided first, so that nothing overflows
        center, radius = self.images(low + up), self._absolute().images(up - low)
        return self.selected.split_dot(center - radius, center + radius)

    def dual_norm(self, q: float, weight: Tensor | None = None) -> Tensor:
        if weight is not None:
            lead = weight.shape[0] if weight.dim() > len(self.size) else 1
            return self.scale(weight.abs().broadcast_to(lead, *self.size)).dual_norm(q)
        if self.factor is None:
            norms = scaled_norm(self.weight, q).expand(1, *self.selected.size)
        elif q == 1:
            norms = _product(self.factor.abs(), self.weight.abs().mT)  # [B, P, n]
        else:
            return self.dense().dual_norm(q)
        return self.selected.dual_norm(1, norms)

    def scale(self, factor: Tensor) -> PositionwiseCoefficients:
        vectors = self._vectors(factor, 1)
        return replace(self, factor=vectors if self.factor is None else vectors * self.factor)

    def negate(self) -> Coefficients:
        return replace(self, selected=self.selected.negate())

    def with_negated(self) -> Coefficients:
        return replace(self, selected=self.selected.with_negated())

    def relax_mirrored(self, slopes: Sides, biases: OptionalSides) -> tuple[Coefficients, Tensor | None]:
        return self.dense().relax_mirrored(slopes, biases)

    def take(self, start: int, stop: int) -> Coefficients:
        return replace(self, selected=self.selected.take(start, stop))

    def pick(self, index: Tensor) -> Coefficients:
        return replace(self, selected=self.selected.pick(index))

    def squeeze(self, dim: int) -> Coefficients:
        if dim == len(self.size) - 1:
            return self.dense().squeeze(dim)
        return replace(self, size=self.size[:dim] + self.size[dim + 1 :])

    def times(self, matrix: Tensor, size: Shape) -> PositionwiseCoefficients | None:
        """The rows over `x` of shape `size`, where `self` is over `x @ matrix.T`; `matrix` is `[k, m]`.

        None where the vectors have factors, or where the few rows themselves take less work than the matrix.
        """
        few = self.rows * math.prod(self.size[:-1]) < self.weight.shape[0]
        if self.factor is not None or few:
            return None
        return replace(self, weight=_product(self.weight, matrix), size=size)

    def times_number(self, number: float) -> PositionwiseCoefficients:
        """All coefficients multiplied by a number."""
        return self if number == 1 else replace(self, weight=self.weight * number)

    def reshaped(self, size: Shape) -> PositionwiseCoefficients:
        """The same rows over the value laid out as `size`, which ends in the same `k`."""
        return replace(self, size=size)

    def moved(self, sources: Tensor, size: Shape) -> PositionwiseCoefficients:
        """The rows over a value of shape `size`, whose vectors at `sources` `[*L]` are those of this one's."""
        return replace(self, positions=sources.flatten()[self.positions], size=size)

    def _absolute(self) -> PositionwiseCoefficients:
        factor = None if self.factor is None else self.factor.abs()
        return replace(self, weight=self.weight.abs(), factor=factor)

    def _vectors(self, value: Tensor, lead: int) -> Tensor:
        """`[*L, B, *S]` to the vectors at the positions, `[*L, B, P, k]`."""
        return value.reshape(*value.shape[:lead], -1, self.size[-1]).index_select(lead, self.positions)


def _product(x: Tensor, y: Tensor) -> Tensor:
    """`x @ y`; products of matrices do not promote types, as sums do."""
    wide = torch.promote_types(x.dtype, y.dtype)
    return x.to(wide) @ y.to(wide)
