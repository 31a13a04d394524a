"""Whether somebody follows the operators as they run, so that nobody may ask for a value."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

#: The key of `make_fx` among PyTorch's modes; there is no public way to ask without importing all of its tracer.
_PROXY = torch._C._TorchDispatchModeKey.PROXY


def is_traced() -> bool:
    """Whether `torch.compile` traces, or `lirpa_core.api.recorded` records.

    A trace is replayed with other numbers. So nothing may be decided by the value of a tensor then: checks are left to
    whoever replays, and choices that only save time are not made.
    """
    return torch.compiler.is_compiling() or torch._C._get_dispatch_mode(_PROXY) is not None


def same_positions(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of positions are equal, which may be decided also while `lirpa_core.api.recorded` records.

    Positions of rows are those of all elements then (see `methods.rows`), and do not depend on the numbers to come.
    """
    if torch.compiler.is_compiling():
        return False
    with _disable_current_modes():
        return torch.equal(a, b)
