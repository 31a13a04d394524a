"""Dense coefficients: the oracle that every other structure is measured against."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_core.graph import Shape
from lirpa_core.linear.coefficients.base import (
    Coefficients,
    OptionalSides,
    Sides,
    absolute_sum,
    bilinear_sum,
    flatten,
    picked,
)
from lirpa_core.linear.norms import scaled_norm
from lirpa_core.linear.operators import sum_to
from lirpa_core.linear.relax.eager import blocks, relax_halves, relax_into, unobserved


@dataclass(frozen=True, eq=False)
class DenseCoefficients(Coefficients):
    """Coefficients stored in full.

    Attributes:
        A: `[R, B, *S]`; `B` of one is shared by all examples.
    """

    A: Tensor

    @property
    def rows(self) -> int:
        return self.A.shape[0]

    @property
    def batch(self) -> int:
        return self.A.shape[1]

    @property
    def shape(self) -> Shape:
        return tuple(self.A.shape[2:])

    def to_dense(self) -> Tensor:
        return self.A

    def dense(self) -> Coefficients:
        return self

    def dot(self, value: Tensor) -> Tensor:
        return bilinear_sum(self.A, value)

    def split_dot(self, lower: Tensor | None, upper: Tensor | None) -> Tensor:
        if lower is None:
            assert upper is not None
            return bilinear_sum(self.A.clamp(max=0), upper)
        if upper is None:
            return bilinear_sum(torch.relu(self.A), lower)
        # Centre and radius: one temporary instead of two. Divided first, so that nothing overflows.
        low, up = lower / 2, upper / 2
        return bilinear_sum(self.A, low + up) - absolute_sum(self.A, up - low)

    def dual_norm(self, q: float, weight: Tensor | None = None) -> Tensor:
        if q == 1 and weight is not None:
            lead = weight.shape[0] if weight.dim() > len(self.shape) else 1
            return absolute_sum(self.A, weight.abs().broadcast_to(lead, *self.shape))
        A = self.A if weight is None else self.A * weight
        flat = flatten(A, 2)
        if q == math.inf:
            return flat.abs().amax(-1)
        if q not in (1, 2):
            return scaled_norm(flat, q)
        norm: Tensor = torch.linalg.vector_norm(flat, q, dim=-1)
        return norm

    def scale(self, factor: Tensor) -> Coefficients:
        return DenseCoefficients(self.A * factor)

    def relax_mirrored(self, slopes: Sides, biases: OptionalSides) -> tuple[Coefficients, Tensor | None]:
        return self._in_pieces(slopes, biases, True) or super().relax_mirrored(slopes, biases)

    def _in_pieces(
        self, slopes: Sides, biases: OptionalSides, mirrored: bool
    ) -> tuple[Coefficients, Tensor | None] | None:
        """The relaxation pass, some rows at a time, for `A` or `[A; −A]`; None where it cannot be done so."""
        A, sides = self.A, [side for side in (*slopes, *biases) if side is not None]
        same = all([side.dtype == A.dtype and side.shape[1:] == A.shape[2:] for side in sides])
        if A.dim() == 2 or not same or not unobserved(A):
            return None
        rows, batch = A.shape[0], max(A.shape[1], *[side.shape[0] for side in sides])
        low, up = (side.flatten(1) for side in slopes)
        negated = (-low, -up) if mirrored else (low, up)
        flat = A.flatten(2)
        out = A.new_empty(1 + mirrored, rows, batch, flat.shape[2])
        bias = None if biases == (None, None) else A.new_zeros(1 + mirrored, rows, batch)
        for part, few in blocks(rows, batch, flat.shape[2]):
            a, lines, mirror = (
                flat[part, few] if flat.shape[1] > 1 else flat[part],
                (_of(low, few), _of(up, few)),
                (_of(negated[0], few), _of(negated[1], few)),
            )
            halves = relax_into(a, lines, mirror, out[:, part, few].unbind())
            if bias is None:
                continue
            for half, other, side in zip(halves, halves[::-1], biases, strict=True):
                if side is not None:
                    bias[0, part, few] += bilinear_sum(half, _of(side, few))
                    if mirrored:
                        bias[1, part, few] -= bilinear_sum(other, _of(side, few))
        return (
            DenseCoefficients(out.reshape(-1, batch, *A.shape[2:])),
            None if bias is None else bias.flatten(0, 1),
        )

    def relax_affine(self, slopes: Sides, biases: OptionalSides) -> tuple[Coefficients, Tensor | None]:
        found = self._in_pieces(slopes, biases, False)
        if found is not None:
            return found
        # Exact, since one of the products is zero; on a CPU torch.where takes several times as long. Of
        # relu and clamp only the latter has a gradient at zero, so that together they have one.
        positive, negative = torch.relu(self.A), self.A.clamp(max=0)
        bias: Tensor | None = None
        for half, side in zip((positive, negative), biases, strict=True):
            if side is not None:
                part = bilinear_sum(half, side)
                bias = part if bias is None else bias + part
        return DenseCoefficients(relax_halves(positive, negative, *slopes)), bias

    def split(self) -> tuple[Coefficients, Coefficients]:
        return DenseCoefficients(torch.relu(self.A)), DenseCoefficients(self.A.clamp(max=0))

    def negate(self) -> Coefficients:
        return DenseCoefficients(-self.A)

    def with_negated(self) -> Coefficients:
        return DenseCoefficients(torch.cat([self.A, -self.A]))

    def take(self, start: int, stop: int) -> Coefficients:
        return DenseCoefficients(self.A[start:stop])

    def pick(self, index: Tensor) -> Coefficients:
        return DenseCoefficients(picked(self.A, index))

    def sum_to(self, shape: Shape) -> Coefficients:
        return self if shape == self.shape else DenseCoefficients(sum_to(self.A, shape, lead=2))

    def squeeze(self, dim: int) -> Coefficients:
        return DenseCoefficients(self.A.squeeze(dim + 2))

    def add(self, other: Coefficients) -> Coefficients | None:
        return DenseCoefficients(self.A + other.to_dense())


def _of(side: Tensor, few: slice) -> Tensor:
    """Some examples of a value `[B or 1, ..]`."""
    return side[few] if side.shape[0] > 1 else side
