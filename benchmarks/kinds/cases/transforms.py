"""PyTorch's transforms of functions, and loops."""

from __future__ import annotations

import torch
import torch.utils.checkpoint
from torch import Tensor, nn

from benchmarks.kinds.case import Case, op

_P = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def ensemble(x: Tensor) -> Tensor:
    return torch.func.vmap(lambda w: torch.tanh(x @ w))(_P).mean(0)


CASES: tuple[Case, ...] = (
    op("vmap over examples", lambda x: torch.func.vmap(lambda z: (z.sin() * z).sum().unsqueeze(0))(x)),
    op("vmap ensemble", ensemble),
    op("vmap of vmap", lambda x: torch.func.vmap(torch.func.vmap(lambda z: z * z.exp()))(x)),
    op("functional_call", lambda x: torch.func.functional_call(nn.Linear(4, 2, dtype=x.dtype), {"weight": torch.ones(2, 4, dtype=x.dtype), "bias": torch.zeros(2, dtype=x.dtype)}, (x,))),
    op("checkpoint", lambda x: torch.utils.checkpoint.checkpoint(lambda z: z.tanh() * 2, x, use_reentrant=False)),
    op("torch.cond on the input", lambda x: torch.cond(x.sum() > 0, lambda z: z.sin(), lambda z: z.cos(), (x,)), refused="UnsupportedOperatorError"),
    op("torch.cond on a constant", lambda x: torch.cond(torch.tensor(True), lambda z: z.sin(), lambda z: z.cos(), (x,)), refused="UnsupportedOperatorError"),
    op("scan over steps", lambda x: torch.stack(list(_steps(x)), 1)),
)  # fmt: skip


def _steps(x: Tensor) -> list[Tensor]:
    h, out = x, []
    for _ in range(3):
        h = 0.5 * h + h.tanh()
        out.append(h)
    return out
