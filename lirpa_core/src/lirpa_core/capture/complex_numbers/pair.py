"""A complex tensor as two real ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

#: Real types by complex ones.
REAL = {torch.complex64: torch.float32, torch.complex128: torch.float64}


@dataclass(frozen=True, eq=False)
class Pair:
    """A complex tensor.

    Attributes:
        real: The real part, `[*S]`.
        imag: The imaginary part, of the same shape and type.
    """

    real: Tensor
    imag: Tensor


def pair(x: Any, like: Pair | None = None) -> Pair:
    """A pair, or a real tensor or a number as one.

    Args:
        x: The value.
        like: A pair with the type and device of a Python number.
    """
    if isinstance(x, Pair):
        return x
    if isinstance(x, Tensor):
        return Pair(x, torch.zeros_like(x))
    assert like is not None
    number = complex(x)
    return Pair(torch.full_like(like.real, number.real), torch.full_like(like.real, number.imag))
