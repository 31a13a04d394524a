"""How much memory a device has left."""

from __future__ import annotations

import os

import torch

from lirpa_core.devices.kinds import is_cuda
from lirpa_core.errors import LirpaError

#: Fraction of the free memory that the coefficients may take on an accelerator.
_FRACTION = 0.25


#: What PyTorch says of the host's memory, for which it has no class of errors.
_ON_HOST = "DefaultCPUAllocator"


def ran_out_of_memory(error: Exception) -> bool:
    """Whether an error of PyTorch or Python, that nobody has explained yet, says that there was not enough memory."""
    if isinstance(error, LirpaError):
        return False
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and _ON_HOST in str(error)


def release_memory(device: torch.device) -> None:
    """Give back to a device what PyTorch keeps of its memory without using it."""
    if is_cuda(device):
        torch.cuda.empty_cache()


def free_share(device: torch.device) -> int:
    """A quarter of the free memory of a device, in bytes.

    On a GPU also what PyTorch's allocator keeps without using it counts as free.
    """
    if is_cuda(device):
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int((torch.cuda.mem_get_info(device)[0] + kept) * _FRACTION)
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):  # not every system has these names
        free = 4 * 2**30
    return int(free * _FRACTION)
