"""The state of the generators of random numbers, of the host and of the accelerators that are in use."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def random_state() -> list[Tensor]:
    """The state of all generators."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return [torch.get_rng_state(), *cuda]


def set_random_state(state: Sequence[Tensor]) -> None:
    """Set what `random_state` has returned."""
    torch.set_rng_state(state[0])
    if len(state) > 1:
        torch.cuda.set_rng_state_all(list(state[1:]))
