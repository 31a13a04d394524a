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


def unreadable(x: Tensor) -> str | None:
    """What a tensor is whose elements cannot be read and computed with one by one; None for an ordinary one."""
    if x.is_nested:
        return "a nested tensor; pad it, and let the model mask the padding"
    if x.layout != torch.strided:
        return f"a sparse tensor ({x.layout}); make it dense with .to_dense()"
    if x.is_quantized:
        return "a quantized tensor; convert it with .dequantize()"
    if x.device.type == "meta":
        return "on the device 'meta', where tensors have no values; move it to a device that computes"
    if is_sharded(x):
        return "sharded over processes (a DTensor); gather it with .full_tensor()"
    return None


def is_sharded(x: Tensor) -> bool:
    """Whether a process holds only a part of a tensor, as of parameters under FSDP."""
    return hasattr(type(x), "full_tensor")  # that of DTensor, which takes seconds to import


def synchronize(device: torch.device) -> None:
    """Wait until a device has done what it was given, so that a clock can be read."""
    if is_cuda(device):
        torch.cuda.synchronize(device)
