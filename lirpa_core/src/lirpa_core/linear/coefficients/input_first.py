"""Coefficients stored with the inputs' elements first: how forward propagation carries them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_core.graph import Shape
from lirpa_core.linear.coefficients.base import Coefficients, flatten
from lirpa_core.linear.coefficients.structured import StructuredCoefficients
from lirpa_core.linear.norms import scaled_norm


@dataclass(frozen=True, eq=False)
class InputFirstCoefficients(StructuredCoefficients):
    """Rows over an input, one a node's element, stored as images of the input's unit vectors.

    Forward propagation sends the `n` unit vectors of an input through the network. Their images are the columns
    of the coefficients, and lie one after another in memory; minima over a set are taken where they lie.

    Attributes:
        images: `[n, B, *S_out]`, with `R` elements in `S_out`; a batch of one is shared by all examples.
        size: Shape `S` of one example of the input, `n` elements.
    """

    images: Tensor
    size: Shape

    @property
    def rows(self) -> int:
        return math.prod(self.images.shape[2:])

    @property
    def batch(self) -> int:
        return self.images.shape[1]

    @property
    def shape(self) -> Shape:
        return self.size

    def to_dense(self) -> Tensor:
        flat = flatten(self.images, 2)  # [n, B, R]
        return flat.permute(2, 1, 0).reshape(flat.shape[2], flat.shape[1], *self.size)

    def dot(self, value: Tensor) -> Tensor:
        return _sum_over_inputs(flatten(self.images, 2), flatten(value, 1))

    def split_dot(self, lower: Tensor | None, upper: Tensor | None) -> Tensor:
        if lower is None or upper is None:
            return self.dense().split_dot(lower, upper)
        low, up = lower / 2, upper / 2  # divided first, so that nothing overflows
        images = flatten(self.images, 2)
        midpoint, radius = flatten(low + up, 1), flatten(up - low, 1)
        return _sum_over_inputs(images, midpoint) - _sum_over_inputs(images.abs(), radius)

    def dual_norm(self, q: float, weight: Tensor | None = None) -> Tensor:
        images = flatten(self.images, 2).abs()  # [n, B, R]
        if q == 1 and weight is not None:
            lead = weight.shape[0] if weight.dim() > len(self.size) else 1
            return _sum_over_inputs(images, flatten(weight.abs().broadcast_to(lead, *self.size), 1))
        if weight is not None:
            return self.dense().dual_norm(q, weight)
        return scaled_norm(images.movedim(0, -1), q).T

    def negate(self) -> Coefficients:
        return InputFirstCoefficients(-self.images, self.size)

    def squeeze(self, dim: int) -> Coefficients:
        return InputFirstCoefficients(self.images, self.size[:dim] + self.size[dim + 1 :])


def _sum_over_inputs(images: Tensor, value: Tensor) -> Tensor:
    """`Σ_n images[n] · value[n]`: `[R, B]` for `[n, B, R]` and `[B, n]`, either batch possibly one."""
    if images.shape[1] == 1:
        return (value @ images[:, 0]).T
    batch = max(images.shape[1], value.shape[0])
    rows = value.expand(batch, -1).unsqueeze(1)  # [B, 1, n]
    return torch.bmm(rows, images.transpose(0, 1)).squeeze(1).T
