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
from lirpa_core.linear.relax.eager import relax_halves, relax_pass, unobserved


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
        return scaled_norm(flat, q)

    def scale(self, factor: Tensor) -> Coefficients:
        return DenseCoefficients(self.A * factor)

    def relax_mirrored(self, slopes: Sides, biases: OptionalSides) -> tuple[Coefficients, Tensor | None]:
        return self._in_pieces(slopes, biases, True) or super().relax_mirrored(slopes, biases)

    def _in_pieces(
        self, slopes: Sides, biases: OptionalSides, mirrored: bool
    ) -> tuple[Coefficients, Tensor | None] | None:
        """The relaxation pass, some rows at a time, for `A` or `[A; −A]`; None where it cannot be done so."""
        A = self.A
        if A.dim() == 2 or not unobserved(A):
            return None
        sides = [side for side in (*slopes, *biases) if side is not None]
        if not all([side.dtype == A.dtype and side.shape[1:] == A.shape[2:] for side in sides]):
            return None
        low, up = (side.flatten(1) for side in slopes)
        below, above = (None if side is None else side.flatten(1) for side in biases)
        out, bias = relax_pass(A.flatten(2), (low, up), (below, above), mirrored=mirrored)
        return DenseCoefficients(out.view(*out.shape[:2], *A.shape[2:])), bias

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
