"""How losses and gated units fall apart: negative log-likelihood by a look-up, GLU by a gate."""

from __future__ import annotations

import torch
from torch import Tensor

from lirpa_core.registry import OperatorRegistry

aten = torch.ops.aten
nlp = torch.ops.lirpa_nlp

_MEAN, _SUM = 1, 2


def nll_loss(
    self: Tensor, target: Tensor, weight: Tensor | None, reduction: int, ignore_index: int
) -> tuple[Tensor, Tensor]:
    """The picked elements, negated and weighted; and the sum of the weights."""
    dim = 1 if self.dim() > 1 else 0
    kept = target != ignore_index
    place = torch.where(kept, target, 0)
    picked = self.gather(dim, place.unsqueeze(dim)).squeeze(dim)
    share = kept.to(self.dtype)
    if weight is not None:
        share = share * weight[place]
    loss, total = -picked * share, share.sum()
    if reduction == _SUM:
        loss = loss.sum()
    elif reduction == _MEAN:
        loss = loss.sum() * torch.reciprocal(total)
    return loss, total


def glu(self: Tensor, dim: int = -1) -> Tensor:
    """`a · σ(b)` of the two halves."""
    a, b = self.chunk(2, dim)
    gated: Tensor = nlp.sigmoid_mul(b, a)
    return gated


def register(registry: OperatorRegistry) -> None:
    """Register this file's decompositions."""
    registry.decompose(aten.nll_loss_forward.default, nll_loss)
    registry.decompose(aten.nll_loss2d_forward.default, nll_loss)
    registry.decompose(aten.glu.default, glu)
