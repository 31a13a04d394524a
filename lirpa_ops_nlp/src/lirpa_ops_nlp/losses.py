"""How losses and gated units fall apart: negative log-likelihood by a gather, GLU by a gate."""

from __future__ import annotations

import torch
from torch import Tensor

from lirpa_core.linear.coefficients import SelectedRows
from lirpa_core.operators import Gather, gather_rows
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules import Call, Linear, exact, require_in_range
from lirpa_ops_nlp.operators import gather_targets

aten = torch.ops.aten
nlp = torch.ops.lirpa_nlp

_MEAN, _SUM = 1, 2


def require_known_targets(call: Call) -> None:
    """Refuse targets outside the classes (not while `torch.compile` traces).

    Raises:
        InputError: Naming the node, the target and the range.
    """
    message = (
        "the target {wrong} is out of range: there are {count} classes, so targets run from 0 to {last}, or are "
        "ignore_index."
    )
    require_in_range(call, call["index"].value, call.shapes[0][call["dim"]], message)


GATHER_TARGETS = Linear(("self",), native=Gather(), validate=require_known_targets)


def nll_loss(
    self: Tensor, target: Tensor, weight: Tensor | None, reduction: int, ignore_index: int
) -> tuple[Tensor, Tensor]:
    """The gathered elements, negated and weighted; and the sum of the weights."""
    dim = 1 if self.dim() > 1 else 0
    kept = target != ignore_index
    index = torch.where(kept, target, 0)
    gathered = nlp.gather_targets(self, dim, index)
    weights = kept.to(self.dtype)
    if weight is not None:
        weights = weights * weight[index]
    loss, total = -gathered * weights, weights.sum()
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
    """Register this file's rule and decompositions."""
    registry.register(gather_targets, GATHER_TARGETS)
    registry.kernel(gather_targets, SelectedRows, gather_rows)
    registry.decompose(aten.nll_loss_forward.default, nll_loss)
    registry.decompose(aten.nll_loss2d_forward.default, nll_loss)
    registry.decompose(aten.glu.default, glu)
    registry.decompose_as_executed(aten.glu.default, lambda inner: inner)
    registry.allowance(gather_targets, exact)
