"""Order statistics, comparisons, and what is chosen by them."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.kinds.case import Case, op


def sparsemax(x: Tensor) -> Tensor:
    """By Martins and Astudillo 2016."""
    s = x.sort(-1, descending=True).values
    k = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype)
    support = 1 + k * s > s.cumsum(-1)
    count = support.sum(-1, keepdim=True).to(x.dtype)
    tau = ((s * support).sum(-1, keepdim=True) - 1) / count
    return (x - tau).clamp(min=0)


def sparsemax_by_candidates(x: Tensor) -> Tensor:
    """The same: the threshold is the largest of the candidates for it."""
    k = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype)
    candidates = (x.sort(-1, descending=True).values.cumsum(-1) - 1) / k
    return (x - candidates.amax(-1, keepdim=True)).clamp(min=0)


def hard_top2(x: Tensor) -> Tensor:
    return x * (x >= x.topk(2, -1).values[..., -1:])


def scattered_top2(x: Tensor) -> Tensor:
    values, where = x.topk(2, -1)
    return torch.zeros_like(x).scatter(-1, where, values)


_SEGMENTS = torch.tensor([0, 1, 1, 0])


def _segments(x: Tensor) -> Tensor:
    return _SEGMENTS.expand_as(x)


ORDER: tuple[Case, ...] = (
    op("sort", lambda x: x.sort(-1).values),
    op("sort, descending", lambda x: torch.sort(x, -1, descending=True)[0]),
    op("msort", lambda x: x.T.msort().T),
    op("argsort and gather", lambda x: x.gather(-1, x.argsort(-1))),
    op("argsort and gather of another", lambda x: x.exp().gather(-1, x.argsort(-1))),
    op("take_along_dim of argsort", lambda x: torch.take_along_dim(x, x.argsort(-1), -1)),
    op("topk", lambda x: x.topk(2, -1).values),
    op("topk, smallest", lambda x: x.topk(2, -1, largest=False).values),
    op("topk and scatter", scattered_top2),
    op("the two largest by comparison", hard_top2),
    op("kthvalue", lambda x: x.kthvalue(2, -1, keepdim=True).values),
    op("median", lambda x: x.median(-1, keepdim=True).values),
    op("median of all", lambda x: x.reshape(x.shape[0], 2, 2).median(-1).values),
    op("nanmedian", lambda x: x.nanmedian(-1, keepdim=True).values),
    op("quantile", lambda x: torch.quantile(x, 0.3, dim=-1, keepdim=True)),
    op("quantiles", lambda x: torch.quantile(x, torch.tensor([0.25, 0.6], dtype=x.dtype), dim=-1).T),
    op("nanquantile", lambda x: torch.nanquantile(x, 0.3, dim=-1, keepdim=True)),
    op("mode", lambda x: x.mode(-1).values.unsqueeze(-1)),
    op("sparsemax, by the size of its support", sparsemax),
    op("sparsemax, by the largest candidate", sparsemax_by_candidates),
    op("max with positions", lambda x: x.max(-1, keepdim=True).values),
    op("argmax and gather", lambda x: x.gather(-1, x.argmax(-1, keepdim=True))),
    op("argmax as a value", lambda x: x.argmax(-1, keepdim=True).to(x.dtype)),
    op("one_hot of argmax", lambda x: torch.nn.functional.one_hot(x.argmax(-1), 4).to(x.dtype)),
    op("aminmax", lambda x: torch.stack([*x.aminmax(dim=-1)], -1)),
    op("maximum of two", lambda x: torch.maximum(x[:, :2], x[:, 2:])),
    op("fmax", lambda x: torch.fmax(x[:, :2], x[:, 2:])),
    op("cummax", lambda x: x.cummax(-1).values),
    op("cummin", lambda x: x.cummin(-1).values),
    op("logcumsumexp", lambda x: x.logcumsumexp(-1)),
    op("cumprod", lambda x: x.cumprod(-1), 0.5, 1.5),
    op("trimmed mean", lambda x: x.sort(-1).values[:, 1:-1].mean(-1, keepdim=True)),
    op("range max − min", lambda x: x.amax(-1, keepdim=True) - x.amin(-1, keepdim=True)),
    op("renorm", lambda x: torch.renorm(x, 2, 0, 0.7)),
)

SCATTER: tuple[Case, ...] = (
    op("scatter_reduce, amax", lambda x: torch.zeros_like(x[:, :2]).scatter_reduce(1, _segments(x), x, "amax", include_self=False)),
    op("scatter_reduce, amin", lambda x: torch.zeros_like(x[:, :2]).scatter_reduce(1, _segments(x), x, "amin", include_self=True)),
    op("scatter_reduce, mean", lambda x: torch.zeros_like(x[:, :2]).scatter_reduce(1, _segments(x), x, "mean", include_self=False)),
    op("scatter_reduce, sum", lambda x: torch.zeros_like(x[:, :2]).scatter_reduce(1, _segments(x), x, "sum")),
    op("scatter_reduce, prod", lambda x: torch.ones_like(x[:, :2]).scatter_reduce(1, _segments(x), x, "prod"), 0.5, 1.5),
    op("scatter_add", lambda x: torch.zeros_like(x[:, :2]).scatter_add(1, _segments(x), x)),
    op("scatter", lambda x: torch.zeros_like(x).scatter(1, torch.tensor([[3, 1]]).expand(x.shape[0], 2), x[:, :2])),
    op("index_add", lambda x: torch.zeros_like(x[:, :2]).index_add(1, _SEGMENTS, x)),
    op("index_reduce, amax", lambda x: torch.zeros_like(x[:, :2]).index_reduce(1, _SEGMENTS, x, "amax", include_self=False)),
    op("index_copy", lambda x: torch.zeros_like(x).index_copy(1, torch.tensor([2, 0]), x[:, :2])),
    op("index_fill", lambda x: x.index_fill(1, torch.tensor([2]), 0.5)),
    op("index_select", lambda x: x.index_select(1, torch.tensor([2, 0]))),
    op("select_scatter", lambda x: x.select_scatter(x[:, 0] * 2, 1, 3)),
    op("slice_scatter", lambda x: x.slice_scatter(x[:, :2] * 2, 1, 2, 4)),
    op("diagonal_scatter", lambda x: torch.diagonal_scatter(x, x[..., 0] * 2, 0, 1, 2), shape=(2, 2)),
    op("segment_reduce", lambda x: torch.segment_reduce(x.T.contiguous(), "sum", lengths=torch.tensor([1, 3])).T),
    op("sparse matrix product", lambda x: torch.sparse.mm(torch.eye(4, dtype=x.dtype).roll(1, 0).to_sparse(), x.T).T),
    op("sparse CSR product", lambda x: (torch.eye(4, dtype=x.dtype).roll(1, 0).to_sparse_csr() @ x.T).T),
    op("sparse @ of a batch", lambda x: (torch.eye(4, dtype=x.dtype).roll(1, 0).to_sparse() @ x.reshape(-1, 4).T).T),
    op("embedding of a perturbed table", lambda x: torch.nn.functional.embedding(torch.tensor([1, 0]), x.reshape(-1, 2)).reshape(1, -1) + x.sum(-1, keepdim=True), refused="ReplayError"),
    op("masked_scatter across examples", lambda x: torch.zeros_like(x).masked_scatter(torch.tensor([True, False, True, True]), x), refused="ReplayError"),
    op("take", lambda x: torch.stack([torch.take(z, torch.tensor([2, 0])) for z in x.unbind(0)])),
)  # fmt: skip

COMPARISONS: tuple[Case, ...] = (
    op("a > b as a value", lambda x: (x[:, :2] > x[:, 2:]).to(x.dtype)),
    op("where(a > b, a, b)", lambda x: torch.where(x[:, :2] > x[:, 2:], x[:, :2], x[:, 2:])),
    op("where(a > b, f, g)", lambda x: torch.where(x[:, :2] > x[:, 2:], x[:, :2].exp(), x[:, 2:] * 2)),
    op("where with two conditions", lambda x: torch.where((x > -0.5) & (x < 0.5), x, x.sign() * 0.5)),
    op("where of a rounded condition", lambda x: torch.where(x.round() == 0, x, 1 - x)),
    op("a == b", lambda x: (x[:, :2] == x[:, 2:]).to(x.dtype)),
    op("a >= 0 times b", lambda x: (x[:, :2] >= 0) * x[:, 2:]),
    op("logical_xor", lambda x: torch.logical_xor(x[:, :2] > 0, x[:, 2:] > 0).to(x.dtype)),
    op("any", lambda x: (x > 0.5).any(-1, keepdim=True).to(x.dtype)),
    op("all", lambda x: (x > -0.5).all(-1, keepdim=True).to(x.dtype)),
    op("isnan", lambda x: torch.where(x.isnan(), 0.0, x)),
    op("isfinite", lambda x: torch.where(x.isfinite(), x, 0.0)),
    op("isinf", lambda x: x.masked_fill(x.isinf(), 1.0)),
    op("nan_to_num", lambda x: x.nan_to_num()),
    op("isclose", lambda x: torch.isclose(x[:, :2], x[:, 2:], atol=0.5).to(x.dtype)),
    op("clamp with perturbed limits", lambda x: x[:, :1].clamp(min=x[:, 1:2], max=x[:, 1:2] + x[:, 2:3].abs())),
    op("clamp by a tensor", lambda x: x.clamp(torch.full_like(x, -0.5), torch.full_like(x, 0.5))),
    op("sign", lambda x: x.sign()),
    op("heaviside", lambda x: torch.heaviside(x, x.new_tensor(0.5))),
    op("signbit", lambda x: x.signbit().to(x.dtype)),
    op("copysign", lambda x: torch.copysign(x[:, :2], x[:, 2:])),
    op("count_nonzero", lambda x: (x > 0).count_nonzero(-1).unsqueeze(-1).to(x.dtype)),
    op("bucketize", lambda x: torch.bucketize(x, torch.tensor([-0.5, 0.0, 0.5], dtype=x.dtype)).to(x.dtype)),
    op("searchsorted", lambda x: torch.searchsorted(torch.tensor([-0.5, 0.0, 0.5], dtype=x.dtype), x).to(x.dtype)),
    op("a table by bucketize", lambda x: torch.tensor([0.0, 1.0, 3.0], dtype=x.dtype)[torch.bucketize(x, torch.tensor([-0.3, 0.4], dtype=x.dtype))]),
    op("round", lambda x: (4 * x).round() / 4),
    op("floor, ceil, trunc, frac", lambda x: torch.cat([(2 * x).floor(), (2 * x).ceil(), (2 * x).trunc(), (2 * x).frac()], -1)),
    op("straight-through round", lambda x: x + (x.round() - x).detach()),
)  # fmt: skip

CASES: tuple[Case, ...] = (*ORDER, *SCATTER, *COMPARISONS)
