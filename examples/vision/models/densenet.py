"""DenseNet: every layer reads the outputs of all layers of its block."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.layers import head, scaled


class Grow(nn.Module):
    """Puts new channels beside those that there are."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, 4 * growth, 1, bias=False),
            nn.BatchNorm2d(4 * growth), nn.ReLU(), nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.body(x), x], 1)


def densenet(
    classes: int = 10, size: int = 32, width: float = 1.0, blocks: tuple[int, ...] = (2, 4, 4)
) -> nn.Module:
    """DenseNet with bottlenecks (Huang et al. 2017), growth 32, halving the channels between blocks."""
    growth = scaled(32, width)
    channels = 2 * growth
    layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, 1 if size <= 32 else 2, 1, bias=False)]
    for i, count in enumerate(blocks):
        for _ in range(count):
            layers.append(Grow(channels, growth))
            channels += growth
        if i < len(blocks) - 1:
            layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels // 2, 1, bias=False)]
            layers.append(nn.AvgPool2d(2))
            channels //= 2
    return nn.Sequential(*layers, nn.BatchNorm2d(channels), nn.ReLU(), *head(channels, classes))
