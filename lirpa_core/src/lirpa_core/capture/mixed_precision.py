"""The refusal of automatic mixed precision, under which no bound would be one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from lirpa_core.devices import autocast_region
from lirpa_core.errors import InputError


def refuse_autocast(inputs: Sequence[Any]) -> None:
    """Check that no autocast region is open for the device of the inputs.

    Raises:
        InputError: Naming the dtype of the region.
    """
    device = next((x.device for x in inputs if isinstance(x, torch.Tensor)), None)
    region = None if device is None else autocast_region(device)
    if region is None:
        return
    kind, dtype = region
    raise InputError(
        f"bounds were asked for inside torch.autocast({kind!r}, dtype={dtype}). Rounding to {dtype} moves a "
        "bound by about 1e-3 of its size and more, so that it would bound nothing; bounds are computed in float32 "
        "or float64. Compute them outside of the autocast region (or inside torch.autocast(..., enabled=False)); "
        "the clean forward pass may stay inside."
    )
