"""The operator `lirpa::masked_softmax`: softmax that leaves masked scores out of the sum, without −∞ in between."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def _masked_softmax(self: Tensor, masked: Tensor, dim: int) -> Tensor:
    """Softmax of the scores that are not masked; zero for the others.

    Args:
        self: The scores.
        masked: True where a score is left out; broadcasts to the scores.
        dim: The dimension that sums to one.
    """
    masked = masked.expand(self.shape)
    nothing_left = masked.all(dim, keepdim=True)
    out = self.masked_fill(masked & ~nothing_left, -math.inf).softmax(dim)
    return out.masked_fill(masked, 0.0)


_LIBRARY = torch.library.Library("lirpa", "DEF")
_LIBRARY.define("masked_softmax(Tensor self, Tensor masked, int dim) -> Tensor")
for _key in ("CompositeImplicitAutograd", "FuncTorchBatchedDecomposition"):  # the latter for `vmap`
    _LIBRARY.impl("masked_softmax", _masked_softmax, _key)
