"""Selected rows of an identity, scaled: where every backward pass starts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_core.graph import Shape
from lirpa_core.linear.coefficients.base import Coefficients, OptionalSides, Sides, flatten, picked
from lirpa_core.linear.coefficients.structured import StructuredCoefficients


@dataclass(frozen=True, eq=False)
class SelectedRows(StructuredCoefficients):
    """Each row reads one element: `row r of example b = scale[r, b] · x[index[r, b]]`.

    Attributes:
        index: `[R, B]` positions in the flattened `S`, each example its own; `B` of one is shared.
        scale: `[R, B]`, broadcastable against `index`.
        size: `S`.
    """

    index: Tensor
    values: Tensor
    size: Shape

    @classmethod
    def identity(cls, shape: Shape, *, dtype: torch.dtype, device: torch.device | str) -> SelectedRows:
        """All elements of `S`, one row each, shared by all examples."""
        index = torch.arange(math.prod(shape), device=device).unsqueeze(1)
        return cls(index, torch.ones(1, 1, dtype=dtype, device=device), shape)

    @classmethod
    def select(cls, index: Tensor, shape: Shape, *, dtype: torch.dtype) -> SelectedRows:
        """The elements at `index` `[R, B]` of the flattened `S`."""
        return cls(index, torch.ones(1, 1, dtype=dtype, device=index.device), shape)

    @property
    def rows(self) -> int:
        return self.index.shape[0]

    @property
    def batch(self) -> int:
        return max(self.index.shape[1], self.values.shape[1])

    @property
    def shape(self) -> Shape:
        return self.size

    @property
    def numel(self) -> int:
        return self.rows * self.batch

    @property
    def reads_single_elements(self) -> bool:
        return True

    @property
    def scales(self) -> Tensor:
        """`[R, B]`."""
        return self.values.expand(self.rows, self.batch)

    def to_dense(self) -> Tensor:
        index = self.index.expand(self.rows, self.batch)
        flat = self.values.new_zeros(self.rows, self.batch, math.prod(self.size))
        return flat.scatter(2, index.unsqueeze(2), self.scales.unsqueeze(2)).reshape(
            self.rows, self.batch, *self.size
        )

    def _gather(self, value: Tensor) -> Tensor:
        """Elements of `[B, *S]` at the rows' positions: `[R, B]`."""
        flat = flatten(value, 1)  # [B, n]
        if flat.shape[0] == 1:
            return flat[0][self.index]
        if self.index.shape[1] == 1:
            return flat.T[self.index[:, 0]]
        return flat.T.gather(0, self.index)

    def dot(self, value: Tensor) -> Tensor:
        return self.values * self._gather(value)

    def split_dot(self, lower: Tensor | None, upper: Tensor | None) -> Tensor:
        if lower is None:
            assert upper is not None
            return self.values.clamp(max=0) * self._gather(upper)
        if upper is None:
            return torch.relu(self.values) * self._gather(lower)
        return self.values * torch.where(self.values >= 0, self._gather(lower), self._gather(upper))

    def dual_norm(self, q: float, weight: Tensor | None = None) -> Tensor:
        if weight is None:
            return self.scales.abs()
        whole = torch.broadcast_to(
            weight, (weight.shape[0] if weight.dim() > len(self.size) else 1, *self.size)
        )
        return (self.values * self._gather(whole)).abs().expand(self.rows, -1)

    def scale(self, factor: Tensor) -> Coefficients:
        return SelectedRows(self.index, self.values * self._gather(factor), self.size)

    def relax_affine(self, slopes: Sides, biases: OptionalSides) -> tuple[Coefficients, Tensor | None]:
        lower, upper = (self._gather(slope) for slope in slopes)
        slope = torch.where(self.values >= 0, lower, upper)
        bias = None if biases == (None, None) else self.split_dot(*biases)
        return SelectedRows(self.index, self.values * slope, self.size), bias

    def negate(self) -> SelectedRows:
        return SelectedRows(self.index, -self.values, self.size)

    def with_negated(self) -> SelectedRows:
        return SelectedRows(
            torch.cat([self.index, self.index]), torch.cat([self.scales, -self.scales]), self.size
        )

    def take(self, start: int, stop: int) -> SelectedRows:
        scale = self.values if self.values.shape[0] == 1 else self.values[start:stop]
        return SelectedRows(self.index[start:stop], scale, self.size)

    def pick(self, index: Tensor) -> SelectedRows:
        at = self.index.expand(-1, index.shape[1])
        scale = self.values if self.values.shape[0] == 1 else picked(self.values, index)
        return SelectedRows(at.gather(0, index), scale, self.size)

    def squeeze(self, dim: int) -> Coefficients:
        return self.reshape(self.size[:dim] + self.size[dim + 1 :])

    def reshape(self, shape: Shape) -> SelectedRows:
        """The same rows over the value laid out as `shape`."""
        return SelectedRows(self.index, self.values, shape)
