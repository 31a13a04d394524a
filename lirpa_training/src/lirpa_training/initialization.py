"""Weights to begin certified training with (Shi et al. 2021, "Fast certified robust training with short warmup")."""

from __future__ import annotations

import math

import torch
from torch import nn

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def ibp_initialize(model: nn.Module, generator: torch.Generator | None = None) -> nn.Module:
    """Draw weights for which interval bounds neither grow nor shrink from layer to layer.

    The mean radius behind a linear layer with n inputs is `n · E|w|` times that before it, halved by a
    ReLU. Weights from a normal distribution with the deviation `√(2π) / n` make that product one
    (Shi et al. 2021, section 3.1). Biases become zero. Other parameters stay as they are.

    Args:
        model: Its linear and convolutional layers are changed in place.
        generator: Source of randomness.

    Returns:
        The model.
    """
    with torch.no_grad():
        for module in model.modules():
            if not isinstance(module, _LAYERS):
                continue
            fan_in = module.weight[0].numel()
            module.weight.normal_(0, math.sqrt(2 * math.pi) / fan_in, generator=generator)
            if module.bias is not None:
                module.bias.zero_()
    return model
