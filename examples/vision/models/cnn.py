"""Plain convolutional networks."""

from __future__ import annotations

from torch import nn

from models.layers import conv_norm_relu, scaled


def small_cnn(classes: int = 10, size: int = 28, channels: int = 1) -> nn.Module:
    """Two strided convolutions (16 and 32 channels) and two linear layers (100, classes)."""
    left = size // 4
    return nn.Sequential(
        nn.Conv2d(channels, 16, 4, 2, 1), nn.ReLU(),
        nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * left * left, 100), nn.ReLU(), nn.Linear(100, classes),
    )  # fmt: skip


def cnn_7layer_bn(classes: int = 10, size: int = 32, width: float = 1.0) -> nn.Module:
    """Five convolutions with batch norm and two linear layers (Shi et al. 2021, "Fast certified robust training")."""
    a, b, hidden = scaled(64, width), scaled(128, width), scaled(512, width)
    left = -(-size // 2)
    return nn.Sequential(
        *conv_norm_relu(3, a), *conv_norm_relu(a, a), *conv_norm_relu(a, b, stride=2),
        *conv_norm_relu(b, b), *conv_norm_relu(b, b),
        nn.Flatten(), nn.Linear(b * left * left, hidden), nn.BatchNorm1d(hidden), nn.ReLU(),
        nn.Linear(hidden, classes),
    )  # fmt: skip
