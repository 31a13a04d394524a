"""Norms over the last dimension that neither overflow nor underflow on the way."""

from __future__ import annotations

import torch
from torch import Tensor


def scaled_norm(x: Tensor, p: float) -> Tensor:
    """`|x|_p` over the last dimension, for any `p >= 1`, with a finite gradient everywhere.

    The powers are taken of `x` divided by its largest element: the Euclidean norm of an `x` around 1e-23 in float32 (and
    with `p = 50` of one around 1e-7) would otherwise come out as zero, and a bound built on it would be unsound.
    """
    if p in (1.0, float("inf")):
        plain: Tensor = torch.linalg.vector_norm(x, p, dim=-1)
        return plain
    largest = x.detach().abs().amax(-1, keepdim=True)
    scale = torch.where((largest > 0) & largest.isfinite(), largest, 1)
    relative: Tensor = torch.linalg.vector_norm(x / scale, p, dim=-1)
    return relative * scale.squeeze(-1)
