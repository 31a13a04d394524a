"""The kinds of devices."""

from __future__ import annotations

import torch
from torch import Tensor


def is_cpu(*tensors: Tensor | None) -> bool:
    """Whether all tensors are in the memory of the host, where new memory is dear and a loop is cheap."""
    return not any([t is not None and t.device.type != "cpu" for t in tensors])


def is_cuda(device: torch.device | None) -> bool:
    """Whether it is a GPU under CUDA (or ROCm, which takes the same names)."""
    return device is not None and device.type == "cuda"


def accelerator_of(device: torch.device) -> str | None:
    """The kind of an accelerator, such as `"cuda"`; None for the host itself."""
    return None if device.type == "cpu" else device.type


def synchronize(device: torch.device) -> None:
    """Wait until a device has done what it was given, so that a clock can be read."""
    if is_cuda(device):
        torch.cuda.synchronize(device)
