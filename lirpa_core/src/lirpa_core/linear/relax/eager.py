"""Whether a temporary tensor may be overwritten instead of a new one made."""

from __future__ import annotations

import torch
from torch import Tensor


def relax_halves(positive: Tensor, negative: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """`positive·lower + negative·upper`; `positive` is a temporary of the caller's and may be overwritten.

    In place this takes half the time on a CPU, as no new memory has to be fetched.
    """
    whole = torch.broadcast_shapes(positive.shape, lower.shape) == positive.shape
    if whole and positive.dtype == lower.dtype == upper.dtype and _unobserved():
        return positive.mul_(lower).addcmul_(negative, upper)
    return torch.addcmul(positive * lower, negative, upper)


def _unobserved() -> bool:
    """Whether neither autograd, nor a transform of `torch.func`, nor the compiler looks on."""
    if torch.compiler.is_compiling() or torch.is_grad_enabled():
        return False
    return torch._C._functorch.maybe_current_level() is None  # there is no public way to ask
