"""The chord of the exponential."""

from __future__ import annotations

import torch
from torch import Tensor


def relative_chord(width: Tensor) -> Tensor:
    """Slope of the chord of `exp` over an interval of a given width, divided by `exp` of its upper end.

    `(exp u − exp l) / (u − l) = exp u · (1 − exp(l − u)) / (u − l)`: one at width zero, and nothing in it
    overflows or cancels, however far up or wide the interval is.

    >>> relative_chord(torch.tensor([0.0, 1e-30, 1e30]))
    tensor([1.0000e+00, 1.0000e+00, 1.0000e-30])

    Args:
        width: `u − l`, not negative.
    """
    wide = width > 0
    safe = torch.where(wide, width, 1)
    return torch.where(wide, -torch.expm1(-safe) / safe, 1)
