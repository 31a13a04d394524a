"""What has no bounds, and has to be refused by name; and checks that only raise, which may stay."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.kinds.case import Case, op


def while_loop(x: Tensor) -> Tensor:
    while x.sum() > 1:
        x = x / 2
    return x


def raising(x: Tensor) -> Tensor:
    if torch.any(torch.isnan(x)):
        raise ValueError("NaN in the input")
    return x.tanh()


CASES: tuple[Case, ...] = (
    op("x[x > 0]", lambda x: x[x > 0], refused="DataDependentShapeError"),
    op("nonzero of the input", lambda x: x[:, x[0].nonzero().squeeze(-1)], refused="DataDependentShapeError"),
    op("if x.sum() > 0", lambda x: x.sin() if x.sum() > 0 else x.cos(), refused="DataDependentBranchError"),
    op("while x.sum() > 1", while_loop, refused="DataDependentBranchError"),
    op("float(x.max())", lambda x: x / float(x.max()), refused="DataDependentBranchError"),
    op("x.numpy()", lambda x: torch.from_numpy(x.numpy()), refused="DataDependentBranchError"),
    op("range(int(x[0, 0]))", lambda x: sum((x for _ in range(int(x[0, 0].abs() * 3) + 1)), torch.zeros_like(x)), refused="DataDependentBranchError"),
    op("if isnan(x).any(): raise", raising),
    op("Normal(x, 1), validated", lambda x: torch.distributions.Normal(x, torch.ones_like(x)).log_prob(torch.zeros_like(x))),
    op("Categorical(logits=x), validated", lambda x: torch.distributions.Categorical(logits=x).entropy().unsqueeze(-1)),
    op("assert x is finite", lambda x: _asserted(x)),
    op("torch._assert", lambda x: _torch_asserted(x)),
    op("torch.rand_like", lambda x: x + torch.rand_like(x), refused="TrainingModeError"),
    op("torch.randn", lambda x: x + torch.randn(4, dtype=x.dtype), refused="TrainingModeError"),
    op("dropout in training", lambda x: F.dropout(x, 0.5, training=True), refused="TrainingModeError"),
    op("bernoulli of the input", lambda x: torch.bernoulli(x.sigmoid()), refused="TrainingModeError"),
    op("Normal(x, 1).rsample()", lambda x: torch.distributions.Normal(x, torch.ones_like(x), validate_args=False).rsample(), refused="TrainingModeError"),
    op("gumbel_softmax", lambda x: F.gumbel_softmax(x, hard=True), refused="UnsupportedOperandError"),
    op("mean over the batch", lambda x: x - x.mean(0), refused="ReplayError"),
    op("log of what may be negative", lambda x: x.log(), refused="DomainError"),
    op("1 / x over zero", lambda x: 1 / x, refused="DomainError"),
    op("repeat_interleave by the input", lambda x: x.repeat_interleave(x[0].long().abs() + 1, 1), refused="DataDependentShapeError"),
    op("unique of the input", lambda x: torch.unique(x), refused="DataDependentShapeError"),
    op("a list as output", lambda x: x.tolist(), refused="CaptureError"),  # type: ignore[arg-type, return-value]
    op("a complex tensor as output", lambda x: torch.fft.fft(x), refused="CaptureError"),
    op("eigenvalues of a general matrix", lambda x: torch.linalg.eigvals(x.reshape(-1, 2, 2)).real, refused="UnsupportedOperatorError"),
)  # fmt: skip


def _asserted(x: Tensor) -> Tensor:
    assert torch.isfinite(x).all()
    return x.tanh()


def _torch_asserted(x: Tensor) -> Tensor:
    torch._assert(torch.isfinite(x).all(), "not finite")
    return x.tanh()
