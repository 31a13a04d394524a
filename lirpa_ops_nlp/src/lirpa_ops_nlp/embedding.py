"""Embeddings: rows gathered at constant positions from a table that may be perturbed, and sums of them by bags."""

from __future__ import annotations

import torch
from torch import Tensor

from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules import ID_OUT_OF_RANGE, Call, Linear, require_in_range

aten = torch.ops.aten

_SUM, _MEAN, _MAX = 0, 1, 2


def require_known_ids(call: Call) -> None:
    """Refuse ids outside the table (not while `torch.compile` traces).

    Raises:
        InputError: Naming the node, the ids and the range.
    """
    table = call.slots.get("weight")
    rows = call.shapes[table][0] if table is not None else call["weight"].value.shape[-2]
    require_in_range(call, call["indices"].value, rows, ID_OUT_OF_RANGE)


#: Linear in the table. Ids are whole numbers: a perturbation of words moves their vectors.
EMBEDDING = Linear(("weight",), validate=require_known_ids)


def embedding_bag(
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = _SUM,
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int = -1,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gathered rows, then a matrix of zeros, ones and weights that says which of them is in which bag.

    The other three results of the operator, which its gradient reads, are left empty.
    """
    rows = torch.nn.functional.embedding(indices, weight)  # [N, D]
    positions = torch.arange(indices.shape[0], device=indices.device)
    starts = offsets[:-1] if include_last_offset else offsets
    started = (positions.unsqueeze(0) >= starts.unsqueeze(1)).sum(0) - 1
    bags = torch.arange(starts.shape[0], device=indices.device)
    inside = (started.unsqueeze(0) == bags.unsqueeze(1)) & (indices != padding_idx)  # [M, N]
    membership = inside.to(weight.dtype)
    if mode == _MAX:
        # Whatever is outside a bag stands for the bag's first member.
        first = membership.argmax(1, keepdim=True)
        chosen = torch.where(inside, positions.unsqueeze(0), first)
        out = rows[chosen].amax(1) * inside.any(1, keepdim=True).to(weight.dtype)
    else:
        if per_sample_weights is not None:
            membership = membership * per_sample_weights
        if mode == _MEAN:
            membership = membership * torch.reciprocal(
                inside.sum(1, keepdim=True).clamp(min=1).to(weight.dtype)
            )
        out = membership @ rows
    empty = offsets.new_zeros([0])
    return out, empty, empty, empty


def register(registry: OperatorRegistry) -> None:
    """Register this file's rule and decompositions."""
    registry.register(aten.embedding.default, EMBEDDING)
    registry.decompose(aten._embedding_bag.default, embedding_bag)
    registry.decompose(aten._embedding_bag_forward_only.default, embedding_bag)
