"""Softmax, its logarithm, and the logarithm of a sum of exponentials.

What is subtracted to avoid an overflow is the same for all scores, and so changes nothing; with it no bound knows that.
"""

from __future__ import annotations

import torch
from torch import Tensor

import lirpa_core.operators.sparsemax  # noqa: F401  (defines lirpa::sparsemax)
from lirpa_core.operators.decompositions import over_last
from lirpa_core.plugins import PatternRegistry


def _softmax(x: Tensor, dim: int) -> Tensor:
    return torch.softmax(x, dim)


def plain(x: Tensor, dim: int) -> Tensor:
    e = torch.exp(x)
    return e / e.sum(dim, keepdim=True)


def stabilised(x: Tensor, dim: int) -> Tensor:
    e = torch.exp(x - x.amax(dim, keepdim=True))
    return e / e.sum(dim, keepdim=True)


def stabilised_by_one(x: Tensor, dim: int) -> Tensor:
    e = torch.exp(x - x.amax())
    return e / e.sum(dim, keepdim=True)


def shifted(x: Tensor, dim: int) -> Tensor:
    return torch.softmax(x - x.amax(dim, keepdim=True), dim)


def shifted_by_one(x: Tensor, dim: int) -> Tensor:
    return torch.softmax(x - x.amax(), dim)


def by_logsumexp(x: Tensor, dim: int) -> Tensor:
    return torch.exp(x - torch.logsumexp(x, dim, keepdim=True))


def by_logarithm(x: Tensor, dim: int) -> Tensor:
    return torch.exp(torch.log_softmax(x, dim))


def of_logarithms(x: Tensor, dim: int) -> Tensor:
    return torch.softmax(torch.log_softmax(x, dim), dim)


def log_of_logarithms(x: Tensor, dim: int) -> Tensor:
    return torch.log_softmax(torch.log_softmax(x, dim), dim)


def _log_softmax(x: Tensor, dim: int) -> Tensor:
    return torch.log_softmax(x, dim)


def log_of_softmax(x: Tensor, dim: int) -> Tensor:
    return torch.log(torch.softmax(x, dim))


def without_logsumexp(x: Tensor, dim: int) -> Tensor:
    return x - torch.logsumexp(x, dim, keepdim=True)


def log_shifted(x: Tensor, dim: int) -> Tensor:
    return torch.log_softmax(x - x.amax(dim, keepdim=True), dim)


def log_shifted_by_one(x: Tensor, dim: int) -> Tensor:
    return torch.log_softmax(x - x.amax(), dim)


def _logsumexp(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    return torch.logsumexp(x, dims, keepdim=True)


def log_of_sum(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    return torch.log(torch.exp(x).sum(dims, keepdim=True))


def logsumexp_shifted(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    greatest = x.amax(dims, keepdim=True)
    return greatest + torch.logsumexp(x - greatest, dims, keepdim=True)


def logsumexp_shifted_by_one(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    greatest = x.amax()
    return greatest + torch.logsumexp(x - greatest, dims, keepdim=True)


def plain_over_several(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    e = torch.exp(x)
    return e / e.sum(dims, keepdim=True)


def stabilised_over_several(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    e = torch.exp(x - x.amax(dims, keepdim=True))
    return e / e.sum(dims, keepdim=True)


def by_logsumexp_over_several(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    return torch.exp(x - torch.logsumexp(x, dims, keepdim=True))


def _softmax_over_several(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    return over_last(x, dims, lambda y: y.flatten(-len(dims)).softmax(-1).reshape(y.shape))


def log_over_several(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    return x - torch.logsumexp(x, dims, keepdim=True)


def _log_softmax_over_several(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    return over_last(x, dims, lambda y: y.flatten(-len(dims)).log_softmax(-1).reshape(y.shape))


def are_several(x: Tensor, dims: tuple[int, ...]) -> bool:
    """Whether there is more than one dimension; with one it is softmax along it."""
    return len(dims) > 1


def late_attention(x: Tensor, value: Tensor) -> Tensor:
    e = torch.exp(x)
    return torch.ops.aten.matmul.default(e, value) / e.sum(-1, keepdim=True)


def late_attention_stabilised(x: Tensor, value: Tensor) -> Tensor:
    e = torch.exp(x - x.amax(-1, keepdim=True))
    return torch.ops.aten.matmul.default(e, value) / e.sum(-1, keepdim=True)


def _attention(x: Tensor, value: Tensor) -> Tensor:
    return torch.softmax(x, -1) @ value


def sparsemax_shifted(x: Tensor) -> Tensor:
    return torch.ops.lirpa.sparsemax.default(x - x.amax(-1, keepdim=True), -1)


def _sparsemax(x: Tensor) -> Tensor:
    return torch.ops.lirpa.sparsemax.default(x, -1)


def register(registry: PatternRegistry) -> None:
    """Register this file's patterns."""
    for name, written, becomes in (
        ("softmax: exp / sum", plain, _softmax),
        ("softmax: exp / sum, shifted by the maximum", stabilised, _softmax),
        ("softmax: exp / sum, shifted by one maximum", stabilised_by_one, _softmax),
        ("softmax: of shifted scores", shifted, _softmax),
        ("softmax: of scores shifted by one maximum", shifted_by_one, _softmax),
        ("softmax: exp of what logsumexp leaves", by_logsumexp, _softmax),
        ("softmax: exp of log-softmax", by_logarithm, _softmax),
        ("softmax: of log-softmax", of_logarithms, _softmax),
        ("log-softmax: of log-softmax", log_of_logarithms, _log_softmax),
        ("log-softmax: log of softmax", log_of_softmax, _log_softmax),
        ("log-softmax: without logsumexp", without_logsumexp, _log_softmax),
        ("log-softmax: of shifted scores", log_shifted, _log_softmax),
        ("log-softmax: of scores shifted by one maximum", log_shifted_by_one, _log_softmax),
        ("logsumexp: log of sum of exp", log_of_sum, _logsumexp),
        ("logsumexp: shifted by the maximum", logsumexp_shifted, _logsumexp),
        ("logsumexp: shifted by one maximum", logsumexp_shifted_by_one, _logsumexp),
        ("sparsemax: of shifted scores", sparsemax_shifted, _sparsemax),
        ("attention: divided at last", late_attention, _attention),
        ("attention: divided at last, shifted by the maximum", late_attention_stabilised, _attention),
    ):
        registry.register(name, written, becomes)
    for name, written, becomes in (
        ("softmax: exp / sum, over several", plain_over_several, _softmax_over_several),
        ("softmax: exp / sum, over several, shifted", stabilised_over_several, _softmax_over_several),
        ("softmax: over several, by logsumexp", by_logsumexp_over_several, _softmax_over_several),
        ("log-softmax: over several", log_over_several, _log_softmax_over_several),
    ):
        registry.register(name, written, becomes, when=are_several)
