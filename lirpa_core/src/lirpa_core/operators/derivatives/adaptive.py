"""The derivative of adaptive average pooling: what pooling does, transposed."""

from __future__ import annotations

import torch
from torch import Tensor

from lirpa_core.plugins import OperatorRegistry

aten = torch.ops.aten


def _shares(size: int, cells: int, like: Tensor) -> Tensor:
    """How much of each cell an element is, `[cells, size]`: cell `o` runs from `⌊o n/m⌋` to `⌈(o + 1) n/m⌉`."""
    cell = torch.arange(cells, device=like.device).unsqueeze(1)
    place = torch.arange(size, device=like.device).unsqueeze(0)
    start, end = cell * size // cells, ((cell + 1) * size + cells - 1) // cells
    inside = (place >= start) & (place < end)
    return inside.to(like.dtype) / (end - start).to(like.dtype)


def adaptive_avg_pool2d_backward(grad_output: Tensor, self: Tensor) -> Tensor:
    """Every cell gives to its elements, in equal shares."""
    down = _shares(self.shape[-2], grad_output.shape[-2], grad_output)
    across = _shares(self.shape[-1], grad_output.shape[-1], grad_output)
    return down.mT @ grad_output @ across


def register(registry: OperatorRegistry) -> None:
    """Register this file's decomposition."""
    registry.decompose(aten._adaptive_avg_pool2d_backward.default, adaptive_avg_pool2d_backward)
