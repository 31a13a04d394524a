"""How much rounding the kit allows: stated once, in units of the last place."""

from __future__ import annotations

import torch
from torch import Tensor

#: Units in the last place of the magnitudes involved, to which the number of summands is added.
ULPS = 64

#: Below this multiple of the smallest normal number nothing is compared: there, floats have few digits.
UNDERFLOW = 4


def allowance(magnitude: Tensor, terms: int = 1) -> Tensor:
    """The difference that rounding may make to a sum of `terms` summands.

    Args:
        magnitude: Sum of the absolute values of everything that was added up.
        terms: Number of summands.
    """
    info = torch.finfo(magnitude.dtype)
    return (ULPS + terms) * info.eps * magnitude + UNDERFLOW * info.tiny
