"""How scaled dot-product attention falls apart: scores, softmax among what the masks allow, and the mix.

The parts stay nodes of their own, because coefficients that have been summed over the outputs of one part
lose less in the next one than planes of the whole would; the rules of softmax and of the mix know what
one owes to the other.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lirpa_core.errors import InputError, TrainingModeError
from lirpa_core.registry import OperatorRegistry

aten = torch.ops.aten
nlp = torch.ops.lirpa_nlp


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """`softmax(Q Kᵀ · scale + mask) V`, where what a mask forbids is left out rather than set to −∞."""
    if dropout_p > 0:
        raise TrainingModeError(
            f"scaled_dot_product_attention drops out with probability {dropout_p}, whatever the mode of the "
            "model. Pass dropout_p=0.0, or dropout_p=self.p if self.training else 0.0."
        )
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
        value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = (query * factor) @ key.transpose(-1, -2)
    keep: Tensor | None = None
    if is_causal:
        shape = (query.shape[-2], key.shape[-2])
        keep = torch.ones(shape, dtype=scores.dtype, device=scores.device).tril()
    if attn_mask is not None:
        _check_mask(attn_mask, scores)
        if attn_mask.dtype == torch.bool:
            allowed = attn_mask.to(scores.dtype)
        else:
            finite = attn_mask != -math.inf
            scores = scores + torch.where(finite, attn_mask, 0.0)
            allowed = finite.to(scores.dtype)
        keep = allowed if keep is None else keep * allowed
    weights = torch.softmax(scores, -1) if keep is None else nlp.masked_softmax(scores, keep)
    mixed: Tensor = nlp.mix(weights, value)
    return mixed


def _check_mask(mask: Tensor, scores: Tensor) -> None:
    if mask.dtype != torch.bool and not mask.is_floating_point():
        raise InputError(
            f"attn_mask has dtype {mask.dtype}; give a boolean mask (True: may attend) or a floating one that is "
            "added to the scores."
        )
    try:
        fits = torch.broadcast_shapes(mask.shape, scores.shape) == scores.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise InputError(
            f"attn_mask of shape {list(mask.shape)} does not broadcast to the scores' shape {list(scores.shape)}."
        )


def register(registry: OperatorRegistry) -> None:
    """Register this file's decompositions, which replace the core's."""
    registry.decompose(aten.scaled_dot_product_attention.default, attention, override=True)
