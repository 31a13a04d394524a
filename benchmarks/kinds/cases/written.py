"""The same function, however it is written: a few ways more than the patterns' own."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.kinds.case import Case, op


def stable_softmax(x: Tensor) -> Tensor:
    e = (x - x.max(-1, keepdim=True).values).exp()
    return e / e.sum(-1, keepdim=True)


def soft_maximum(x: Tensor) -> Tensor:
    m = x.amax(-1, keepdim=True)
    return m + (x - m).exp().sum(-1, keepdim=True).log()


def smooth_maximum(x: Tensor) -> Tensor:
    return (x * stable_softmax(x)).sum(-1, keepdim=True)


def layer_norm(x: Tensor) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + 1e-5)


def group_norm(x: Tensor) -> Tensor:
    y = x.reshape(x.shape[0], 2, -1)
    y = (y - y.mean(-1, keepdim=True)) / torch.sqrt(y.var(-1, keepdim=True, unbiased=False) + 1e-5)
    return y.reshape(x.shape)


def rms_norm(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


def tanh_by_exp(x: Tensor) -> Tensor:
    return (x.exp() - (-x).exp()) / (x.exp() + (-x).exp())


def attention(x: Tensor) -> Tensor:
    return stable_softmax(x @ x.mT / math.sqrt(2)) @ x


_W = torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def _twice(x: Tensor) -> Tensor:
    return torch.tanh(x @ _W) - 0.9 * torch.tanh(x @ _W)


CASES: tuple[Case, ...] = (
    op("softmax, shifted", stable_softmax),
    op("softmax over two dimensions", lambda x: x.exp() / x.exp().sum((-2, -1), keepdim=True), shape=(2, 2)),
    op("softmax of a view", lambda x: x.reshape(-1, 2, 2).exp() / x.reshape(-1, 2, 2).exp().sum(-1, keepdim=True)),
    op("entropy, x log x", lambda x: -(x * x.log()).sum(-1, keepdim=True), 0.1, 1),
    op("entropy, p log p", lambda x: -(x.softmax(-1) * x.softmax(-1).log()).sum(-1, keepdim=True)),
    op("entropy of Categorical", lambda x: torch.distributions.Categorical(logits=x).entropy().unsqueeze(-1)),
    op("soft maximum (logsumexp), shifted", soft_maximum),
    op("smooth maximum", smooth_maximum),
    op("log-softmax, shifted", lambda x: x - soft_maximum(x)),
    op("layer norm", layer_norm),
    op("group norm", group_norm, shape=(4, 2, 2)),
    op("instance norm", lambda x: (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt(), shape=(2, 2, 2)),
    op("RMS norm", rms_norm),
    op("normalize", lambda x: x / x.norm(dim=-1, keepdim=True).clamp(min=1e-12)),
    op("cosine similarity", lambda x: (x[:, :2] * x[:, 2:]).sum(-1, keepdim=True) / (x[:, :2].norm(dim=-1, keepdim=True).clamp(min=1e-8) * x[:, 2:].norm(dim=-1, keepdim=True).clamp(min=1e-8))),
    op("tanh by exp", tanh_by_exp),
    op("sigmoid by exp", lambda x: 1 / (1 + (-x).exp()), -3, 3),
    op("SiLU", lambda x: x / (1 + (-x).exp()), -3, 3),
    op("GELU by erf", lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))), -3, 3),
    op("GELU by tanh", lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))), -3, 3),
    op("quick GELU", lambda x: x * torch.sigmoid(1.702 * x), -3, 3),
    op("softplus by log1p", lambda x: torch.log1p(x.exp()), -3, 3),
    op("softplus, stable", lambda x: x.clamp(min=0) + torch.log1p((-x.abs()).exp()), -3, 3),
    op("mish", lambda x: x * torch.tanh(F.softplus(x)), -3, 3),
    op("ReLU by where", lambda x: torch.where(x > 0, x, torch.zeros_like(x))),
    op("ReLU by x * (x > 0)", lambda x: x * (x > 0)),
    op("ReLU by x * float(x > 0)", lambda x: x * (x > 0).float()),
    op("ReLU by maximum", lambda x: torch.maximum(x, torch.zeros_like(x))),
    op("leaky ReLU by where", lambda x: torch.where(x > 0, x, 0.1 * x)),
    op("leaky ReLU by maximum", lambda x: torch.maximum(x, 0.1 * x)),
    op("|x| by where", lambda x: torch.where(x > 0, x, -x)),
    op("|x| by x * sign(x)", lambda x: x * x.sign()),
    op("|x| by sqrt(x²)", lambda x: (x * x).sqrt()),
    op("ELU by where", lambda x: torch.where(x > 0, x, x.exp() - 1)),
    op("hardtanh by min and max", lambda x: torch.minimum(torch.maximum(x, x.new_tensor(-0.5)), x.new_tensor(0.5))),
    op("hardswish by ReLU6", lambda x: x * F.relu6(x + 3) / 6, -4, 4),
    op("clamp by where", lambda x: torch.where(x > 0.5, 0.5, x)),
    op("square by x * x", lambda x: x * x),
    op("cube by x * x * x", lambda x: x * x * x),
    op("polynomial by Horner", lambda x: ((x + 1) * x - 2) * x),
    op("maximum of halves by ReLU", lambda x: x[:, :2] + (x[:, 2:] - x[:, :2]).relu()),
    op("attention", attention, shape=(3, 2)),
    op("a branch twice: f(x) − 0.9 f(x)", _twice),
    op("x / x of a positive x", lambda x: x / x, 0.5, 1.0),
    op("x − x", lambda x: x - x),
    op("sin² + cos²", lambda x: x.sin() ** 2 + x.cos() ** 2),
    op("variance by E[x²] − E[x]²", lambda x: (x * x).mean(-1, keepdim=True) - x.mean(-1, keepdim=True) ** 2),
    op("mean squared error", lambda x: ((x - 0.5) ** 2).mean(-1, keepdim=True)),
    op("distance by norm of a difference", lambda x: (x[:, :2] - x[:, 2:]).norm(dim=-1, keepdim=True)),
)  # fmt: skip
