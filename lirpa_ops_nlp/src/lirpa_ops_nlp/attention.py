"""How scaled dot-product attention falls apart: scores, softmax among what the masks allow, and the weighted sum.

The parts stay nodes of their own, because coefficients that have been summed over the outputs of one part
lose less in the next one than planes of the whole would; the rules of softmax and of the weighted sum know what
one owes to the other.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lirpa_core.operators import attention_scores
from lirpa_core.plugins import OperatorRegistry

aten = torch.ops.aten
nlp = torch.ops.lirpa_nlp


def attention(*args: Any, **kwargs: Any) -> Tensor:
    """`softmax(Q Kᵀ · scale + mask) V`; arguments as in `attention_scores`."""
    scores, keep, value = attention_scores(*args, **kwargs)
    weights = torch.softmax(scores, -1) if keep is None else nlp.masked_softmax(scores, keep)
    mixed: Tensor = nlp.softmax_weighted_sum(weights, value, scores, keep)
    return mixed


def softmax_of_unmasked(scores: Tensor, masked: Tensor, dim: int) -> Tensor:
    """Softmax over any dimension of the scores that are not masked: as it stands where masks set scores to −∞."""
    keep = torch.logical_not(masked).to(scores.dtype).expand(scores.shape)
    if dim % max(scores.dim(), 1) == scores.dim() - 1:
        last: Tensor = nlp.masked_softmax(scores, keep)
        return last
    moved: Tensor = nlp.masked_softmax(scores.movedim(dim, -1), keep.movedim(dim, -1))
    return moved.movedim(-1, dim)


def register(registry: OperatorRegistry) -> None:
    """Register this file's decompositions, which replace the core's."""
    registry.decompose(aten.scaled_dot_product_attention.default, attention, override=True)
    registry.decompose(torch.ops.lirpa.masked_softmax.default, softmax_of_unmasked, override=True)
