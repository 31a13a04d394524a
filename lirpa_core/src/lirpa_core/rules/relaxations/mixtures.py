"""Mixtures of several functions that are all below, or all above, an operator: any mixture is so too."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lirpa_core.linear.operators import Diagonal, LinearOp
from lirpa_core.linear.relaxation import Affine
from lirpa_core.rules.base import Slope

#: Shares that add up to less are not divided by their sum, lest quotients lose digits.
LEAST_SHARE = 2**-10


def weights_of(shares: Tensor, otherwise: Tensor | None = None) -> Tensor:
    """Numbers from zero on that add up to one along the last dimension, for any shares.

    Args:
        shares: `[.., K]`; cut to 0 to 1.
        otherwise: What stands for shares that are all about zero, `[.., K]`; default: all of the first.
    """
    cut = shares.clamp(0, 1)
    total = cut.sum(-1, keepdim=True)
    enough = total >= LEAST_SHARE
    if otherwise is None:
        otherwise = torch.zeros_like(cut)
        otherwise = torch.cat([torch.ones_like(cut[..., :1]), otherwise[..., 1:]], -1)
    return torch.where(enough, cut / torch.where(enough, total, 1), otherwise)


def shares_at(choice: Tensor, count: int, dtype: torch.dtype) -> Slope:
    """Shares that begin with all of one function, whose number `[B, *P]` is given, as a slope `[B, *P, K]`."""
    start = torch.nn.functional.one_hot(choice, count).to(dtype)
    return Slope(start, torch.zeros_like(start), torch.ones_like(start))


def mixed(functions: Sequence[Affine], shares: Tensor) -> Affine:
    """The mixture of affine functions with shares `[B, *S, K]`, one number for each output and function."""
    weights = weights_of(shares).unbind(-1)
    shape = tuple(weights[0].shape[1:])
    terms: list[LinearOp | None] = [None] * len(functions[0].terms)
    bias: Tensor | None = None
    for weight, function in zip(weights, functions, strict=True):
        for i, term in enumerate(function.terms):
            if term is not None:
                part = Diagonal(weight, shape) @ term
                old = terms[i]
                terms[i] = part if old is None else old + part
        if function.bias is not None:
            bias = weight * function.bias if bias is None else bias + weight * function.bias
    return Affine(tuple(terms), bias)
