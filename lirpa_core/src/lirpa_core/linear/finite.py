"""The question whether a tensor holds NaN or infinity."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def all_finite(x: Tensor) -> bool:
    """Whether every element is finite. Waits for the device.

    A sum is finite only if all its terms are, and takes one pass instead of five. Where it is not, it
    may have overflowed, so the elements decide.
    """
    x = x.detach()
    return math.isfinite(x.sum().item()) or bool(torch.isfinite(x).all())
