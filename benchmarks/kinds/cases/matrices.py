"""Matrices, norms, and what is computed of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.kinds.case import Case, op


def near_identity(x: Tensor) -> Tensor:
    """Matrices `[B, 2, 2]` near three times the identity."""
    return x.reshape(-1, 2, 2) + 3 * torch.eye(2, dtype=x.dtype)


def matrices(name: str, function: Callable[[Tensor], Tensor], refused: str = "") -> Case:
    """A case of matrices `[B, 2, 2]` near three times the identity."""
    return op(name, lambda x: function(near_identity(x)), -0.3, 0.3, refused=refused)


def symmetric(A: Tensor) -> Tensor:
    return A + A.mT


CASES: tuple[Case, ...] = (
    matrices("det", lambda A: torch.linalg.det(A).unsqueeze(-1)),
    matrices("logdet", lambda A: torch.logdet(A).unsqueeze(-1)),
    matrices("slogdet", lambda A: torch.linalg.slogdet(A).logabsdet.unsqueeze(-1)),
    matrices("inv", torch.linalg.inv),
    matrices("inv of 3 × 3", lambda A: torch.linalg.inv(F.pad(A, (0, 1, 0, 1)) + torch.eye(3, dtype=A.dtype))),
    matrices("solve", lambda A: torch.linalg.solve(A, A[..., :1] + 1)),
    matrices("solve with a constant side", lambda A: torch.linalg.solve(A, torch.ones(2, 1, dtype=A.dtype).expand(A.shape[0], 2, 1))),
    matrices("inverse by adjugate", lambda A: torch.stack([A[:, 1, 1], -A[:, 0, 1], -A[:, 1, 0], A[:, 0, 0]], -1) / (A[:, 0, 0] * A[:, 1, 1] - A[:, 0, 1] * A[:, 1, 0]).unsqueeze(-1)),
    matrices("cholesky", lambda A: torch.linalg.cholesky(symmetric(A))),
    matrices("solve_triangular", lambda A: torch.linalg.solve_triangular(A, A[..., :1] + 1, upper=True)),
    matrices("cholesky_solve", lambda A: torch.cholesky_solve(torch.ones(A.shape[0], 2, 1, dtype=A.dtype), torch.linalg.cholesky(symmetric(A)))),
    matrices("matrix_power(−2)", lambda A: torch.linalg.matrix_power(A, -2)),
    matrices("eigvalsh", lambda A: torch.linalg.eigvalsh(symmetric(A))),
    matrices("svdvals", torch.linalg.svdvals),
    matrices("matrix_exp", lambda A: torch.matrix_exp(A / 3)),
    matrices("matrix_power(3)", lambda A: torch.linalg.matrix_power(A, 3)),
    matrices("matrix_norm", lambda A: torch.linalg.matrix_norm(A).unsqueeze(-1)),
    matrices("matrix_norm, 1 and inf", lambda A: torch.stack([torch.linalg.matrix_norm(A, 1), torch.linalg.matrix_norm(A, torch.inf)], -1)),
    matrices("trace", lambda A: A.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True)),
    matrices("A Aᵀ", lambda A: A @ A.mT),
    matrices("bmm", lambda A: torch.bmm(A, A)),
    matrices("baddbmm", lambda A: torch.baddbmm(A, A, A.mT)),
    op("cdist", lambda x: torch.cdist(x.reshape(-1, 2, 2), torch.ones(3, 2, dtype=x.dtype) * 2)),
    op("cdist of two perturbed", lambda x: torch.cdist(x.reshape(-1, 2, 2), x.reshape(-1, 2, 2) + 4)),
    op("pairwise_distance", lambda x: F.pairwise_distance(x[:, :2], x[:, 2:] + 4).unsqueeze(-1)),
    op("pdist", lambda x: torch.stack([(x[:, :2] - x[:, 2:]).norm(dim=-1)], -1)),
    op("vector_norm, 1", lambda x: torch.linalg.vector_norm(x, 1, -1, keepdim=True)),
    op("vector_norm, 2", lambda x: torch.linalg.vector_norm(x, 2, -1, keepdim=True)),
    op("vector_norm, 3", lambda x: torch.linalg.vector_norm(x, 3, -1, keepdim=True)),
    op("vector_norm, ∞", lambda x: torch.linalg.vector_norm(x, torch.inf, -1, keepdim=True)),
    op("var, std", lambda x: torch.cat([x.var(-1, keepdim=True), x.std(-1, keepdim=True)], -1), 0, 1),
    op("prod", lambda x: x.prod(-1, keepdim=True), 0.5, 1.5),
    op("corrcoef by hand", lambda x: F.cosine_similarity(x[:, :2] - 2, x[:, 2:] + 2).unsqueeze(-1)),
    op("cov", lambda x: (x.reshape(-1, 2, 2) - x.reshape(-1, 2, 2).mean(-1, keepdim=True)) @ (x.reshape(-1, 2, 2) - x.reshape(-1, 2, 2).mean(-1, keepdim=True)).mT),
    op("trapezoid, diff, cumsum", lambda x: torch.cat([torch.trapezoid(x).unsqueeze(-1), x.diff(dim=-1), x.cumsum(-1)], -1)),
    op("flip, roll, rot90, tril", lambda x: x.flip(-1) + x.roll(1, -1) + x.rot90(1, (-2, -1)) + x.tril(), shape=(2, 2)),
    op("unfold, as strided windows", lambda x: x.unfold(-1, 2, 1).sum(-1)),
    op("tensordot, einsum", lambda x: torch.tensordot(x, torch.ones(4, 3, dtype=x.dtype), 1) + torch.einsum("bi,i->b", x, torch.ones(4, dtype=x.dtype)).unsqueeze(-1)),
    op("block_diag by cat", lambda x: F.pad(x[:, :2], (0, 2)) + F.pad(x[:, 2:], (2, 0))),
    op("vander", lambda x: torch.linalg.vander(x, N=3)),
    op("multi_dot", lambda x: torch.linalg.multi_dot([x, torch.ones(4, 4, dtype=x.dtype), torch.ones(4, 2, dtype=x.dtype)])),
)  # fmt: skip
