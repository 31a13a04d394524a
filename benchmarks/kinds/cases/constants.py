"""Constants are constants: what no perturbation reaches is evaluated, whatever it is."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.kinds.case import Case


class With(nn.Module):
    """A function of an input and a constant matrix, which is positive definite, or a constant mask."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], constant: Tensor) -> None:
        super().__init__()
        self.function = function
        self.register_buffer("constant", constant)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.get_buffer("constant"))


def matrix(name: str, function: Callable[[Tensor, Tensor], Tensor]) -> Case:
    """A case with a positive definite matrix `[4, 4]`."""

    def build() -> nn.Module:
        A = torch.randn(4, 4, dtype=torch.float64)
        return With(function, A @ A.T + torch.eye(4))

    return Case(name, build)


def mask(name: str, function: Callable[[Tensor, Tensor], Tensor], refused: str = "") -> Case:
    """A case with a constant mask `[4]`."""
    return Case(name, lambda: With(function, torch.tensor([True, False, True, True])), refused=refused)


def number(name: str, function: Callable[[Tensor, Tensor], Tensor]) -> Case:
    """A case with a constant vector of one number."""
    return Case(name, lambda: With(function, torch.tensor([1.5], dtype=torch.float64)))


def branch(x: Tensor, c: Tensor) -> Tensor:
    return x.relu() if c[0] > 1 else x.tanh()


def repeated(x: Tensor, c: Tensor) -> Tensor:
    for _ in range(int(c)):
        x = x.tanh() + 1
    return x


def cayley(x: Tensor, A: Tensor) -> Tensor:
    S, eye = A.triu(1) - A.triu(1).T, torch.eye(4, dtype=A.dtype)
    return x @ torch.linalg.solve(eye + S, eye - S)


def spectral(x: Tensor, A: Tensor) -> Tensor:
    return x @ (A / torch.linalg.matrix_norm(A, 2))


def laplacian(x: Tensor, A: Tensor) -> Tensor:
    A = (A.abs() > 1).to(A.dtype)
    d = A.sum(1).clamp(min=1).pow(-0.5)
    return x @ (torch.diag(d) @ A @ torch.diag(d))


def validated(x: Tensor, c: Tensor) -> Tensor:
    return torch.distributions.Normal(c, c, validate_args=True).log_prob(x)


CASES: tuple[Case, ...] = (
    matrix("linalg.inv", lambda x, A: x @ torch.linalg.inv(A)),
    matrix("torch.inverse", lambda x, A: x @ A.inverse()),
    matrix("linalg.solve", lambda x, A: x @ torch.linalg.solve(A, A.T)),
    matrix("linalg.solve of the input", lambda x, A: torch.linalg.solve(A, x.unsqueeze(-1)).squeeze(-1)),
    matrix("linalg.lstsq", lambda x, A: x @ torch.linalg.lstsq(A, A.T).solution),
    matrix("linalg.cholesky", lambda x, A: x @ torch.linalg.cholesky(A)),
    matrix("cholesky_solve", lambda x, A: torch.cholesky_solve(x.unsqueeze(-1), torch.linalg.cholesky(A)).squeeze(-1)),
    matrix("triangular solve", lambda x, A: torch.linalg.solve_triangular(A.tril(), x.unsqueeze(-1), upper=False).squeeze(-1)),
    matrix("matrix_power(-1)", lambda x, A: x @ torch.linalg.matrix_power(A, -1)),
    matrix("matrix_exp", lambda x, A: x @ torch.matrix_exp(-A)),
    matrix("linalg.qr", lambda x, A: x @ torch.linalg.qr(A).Q),
    matrix("linalg.svd", lambda x, A: x @ torch.linalg.svd(A).Vh),
    matrix("linalg.eigh", lambda x, A: x @ torch.linalg.eigh(A).eigenvectors),
    matrix("linalg.pinv", lambda x, A: x @ torch.linalg.pinv(A)),
    matrix("linalg.det, slogdet", lambda x, A: x * torch.linalg.det(A) + torch.linalg.slogdet(A).logabsdet),
    matrix("householder_product", lambda x, A: x @ torch.linalg.householder_product(A, A[0] / 10)),
    matrix("lu_factor and lu_solve", lambda x, A: torch.linalg.lu_solve(*torch.linalg.lu_factor(A), x.unsqueeze(-1)).squeeze(-1)),
    matrix("Cayley transform", cayley),
    matrix("spectral norm", spectral),
    matrix("normalised adjacency", laplacian),
    matrix("expm of a generator", lambda x, A: x @ torch.linalg.matrix_exp(A - A.T)),
    matrix("pivots by argsort", lambda x, A: x[:, A.diagonal().argsort()]),
    matrix("topk of weights", lambda x, A: x @ torch.zeros_like(A).scatter(1, A.topk(2, 1).indices, 1.0)),
    matrix("a pruned weight", lambda x, A: x @ (A * (A.abs() > A.abs().median()))),
    mask("x[:, mask]", lambda x, m: x[:, m]),
    mask("x[:, ~mask]", lambda x, m: x[:, ~m]),
    mask("x[..., mask].sum()", lambda x, m: x[..., m].sum(-1, keepdim=True)),
    mask("mask.nonzero()", lambda x, m: x[:, m.nonzero().squeeze(-1)]),
    mask("torch.where(mask)", lambda x, m: x[:, torch.where(m)[0]]),
    mask("masked_select of a constant", lambda x, m: x[:, :3] * torch.arange(4.0, dtype=x.dtype).masked_select(m)),
    mask("masked_select of the input", lambda x, m: torch.masked_select(x, m).reshape(-1, 3)),
    mask("x[mask] of a batch", lambda x, m: x.T[m].T),
    mask("assignment by a mask", lambda x, m: torch.where(m, x, 0.0)),
    mask("masked_fill", lambda x, m: x.masked_fill(m, 0.5)),
    mask("x[:, mask] = 0", lambda x, m: _assigned(x, m)),
    mask("masked_scatter", lambda x, m: torch.zeros_like(x).masked_scatter(m.expand_as(x), x[:, :3].contiguous())),
    mask("unique", lambda x, m: x[:, torch.unique(m.long())]),
    mask("unique with counts", lambda x, m: x[:, :2] * torch.unique(m.long(), return_counts=True)[1]),
    mask("bincount", lambda x, m: x[:, :2] * torch.bincount(m.long())),
    mask("repeat_interleave", lambda x, m: x.repeat_interleave(m.long() + 1, dim=1)),
    mask("split by sizes in a buffer", lambda x, m: x.split([*(m.long().cumsum(0)[:2] + m.long()[1]).tolist(), 2], 1)[2]),
    mask("split by buffer.tolist()", lambda x, m: x.split([int(m.sum()), 4 - int(m.sum())], 1)[0]),
    mask("arange(mask.sum())", lambda x, m: x[:, torch.arange(int(m.sum()))]),
    mask("if mask.any()", lambda x, m: x.relu() if m.any() else x),
    mask("if mask.all()", lambda x, m: x.relu() if bool(m.all()) else x.sigmoid()),
    number("float(buffer)", lambda x, c: x * float(c)),
    number("buffer.item()", lambda x, c: x.clamp(max=c.item() / 3)),
    number("if buffer[0] > 1", branch),
    number("buffer.tolist()", lambda x, c: x + c.tolist()[0]),
    number("int(buffer)", lambda x, c: x.reshape(x.shape[0], -1, 2 * int(c))),
    number("for _ in range(int(buffer))", repeated),
    number("buffer.numpy()", lambda x, c: x * float(c.numpy()[0])),
    number("math of a buffer", lambda x, c: x * (2.0 ** c.item())),
    number("Normal.log_prob, validated", validated),
    number("assert on a buffer", lambda x, c: x * c if torch.all(c > 0) else x),
    number("torch.tensor in forward", lambda x, c: x * torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=x.dtype)),
    number("linspace, meshgrid", lambda x, c: x @ torch.meshgrid(torch.linspace(0, 1, 4, dtype=x.dtype), torch.arange(3.0, dtype=x.dtype), indexing="ij")[0]),
    number("eye, tril, triu", lambda x, c: x @ (torch.eye(4, dtype=x.dtype) + torch.ones(4, 4, dtype=x.dtype).tril(-1))),
    number("histc", lambda x, c: x * torch.histc(c.float(), bins=4, min=0, max=2).double()),
)  # fmt: skip


def _assigned(x: Tensor, m: Tensor) -> Tensor:
    y = x.clone()
    y[:, m] = 0.0
    return y
