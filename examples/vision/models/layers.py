"""What several models are made of."""

from __future__ import annotations

from torch import Tensor, nn


def conv_norm(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    """A convolution that keeps the size (but for its stride), and batch normalisation."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


def conv_norm_relu(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    """The same, and ReLU."""
    return [*conv_norm(inputs, outputs, kernel, stride, groups), nn.ReLU()]


class Residual(nn.Module):
    """`relu(body(x) + shortcut(x))`, or without the ReLU."""

    def __init__(self, body: nn.Module, shortcut: nn.Module | None = None, *, relu: bool = True) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut or nn.Identity()
        self.last = nn.ReLU() if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.body(x) + self.shortcut(x))
        return y


def scaled(channels: int, width: float) -> int:
    """A number of channels, narrowed or widened; even, so that it divides into groups."""
    return max(2, 2 * round(channels * width / 2))


def head(channels: int, classes: int) -> list[nn.Module]:
    """Global average pooling and a linear layer."""
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]
