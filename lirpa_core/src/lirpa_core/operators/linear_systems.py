"""Solutions of linear systems with a constant matrix: products with its inverse, which is evaluated."""

from __future__ import annotations

import torch
from torch import Tensor

from lirpa_core.plugins import OperatorRegistry

aten = torch.ops.aten


def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """`A⁻¹ B`, or `B A⁻¹`; `B` may be a vector, or a batch of vectors where `A` is a batch of as many matrices."""
    inverse: Tensor = torch.linalg.inv(A)
    vectors = B.dim() == 1 or (B.dim() == A.dim() - 1 and B.shape == A.shape[:-1])
    if not vectors:
        return inverse @ B if left else B @ inverse
    column = B.unsqueeze(-1)
    return (inverse @ column).squeeze(-1) if left else (inverse.mT @ column).squeeze(-1)


def solve_triangular(
    self: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """`A⁻¹ B`, or `B A⁻¹`, with one triangle of the matrix."""
    triangle = (
        torch.triu(self, 1 if unitriangular else 0) if upper else torch.tril(self, -1 if unitriangular else 0)
    )
    if unitriangular:
        triangle = triangle + torch.eye(self.shape[-1], dtype=self.dtype, device=self.device)
    inverse: Tensor = torch.linalg.inv(triangle)
    return inverse @ B if left else B @ inverse


def cholesky_solve(self: Tensor, input2: Tensor, upper: bool = False) -> Tensor:
    """The solution for the matrix with a given Cholesky factor."""
    factor = torch.triu(input2) if upper else torch.tril(input2)
    matrix = factor.mT @ factor if upper else factor @ factor.mT
    inverse: Tensor = torch.linalg.inv(matrix)
    return inverse @ self


def register(registry: OperatorRegistry) -> None:
    """Register this file's decompositions."""
    registry.decompose(aten.linalg_solve.default, solve)
    registry.decompose(aten.linalg_solve_triangular.default, solve_triangular)
    registry.decompose(aten.cholesky_solve.default, cholesky_solve)
