"""A U-Net: an encoder, a decoder, and skips that put the encoder's channels beside the decoder's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.layers import conv_norm_relu, head, scaled


class Level(nn.Module):
    """One resolution: convolve, go through what lies below, bring it back up and join it."""

    def __init__(self, inputs: int, outputs: int, below: nn.Module, deep: int) -> None:
        super().__init__()
        self.down = nn.Sequential(*conv_norm_relu(inputs, outputs))
        self.below = nn.Sequential(
            nn.AvgPool2d(2), below, nn.Upsample(scale_factor=2), *conv_norm_relu(deep, outputs)
        )
        self.join = nn.Sequential(*conv_norm_relu(2 * outputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(x)
        y: Tensor = self.join(torch.cat([x, self.below(x)], 1))
        return y


def unet(classes: int = 10, size: int = 32, width: float = 1.0, segment: bool = False) -> nn.Module:
    """A U-Net of three resolutions (Ronneberger et al. 2015) with average pooling and nearest upsampling.

    Args:
        classes: Classes of an image, or of a pixel.
        size: Of the square image, a multiple of four.
        width: Factor of all numbers of channels; 1: 32, 64 and 128.
        segment: Whether to classify each pixel (`[B, classes, size, size]`) instead of the image.
    """
    a, b, c = scaled(32, width), scaled(64, width), scaled(128, width)
    bottom = nn.Sequential(*conv_norm_relu(b, c), *conv_norm_relu(c, c))
    body = Level(3, a, Level(a, b, bottom, c), b)
    return (
        nn.Sequential(body, nn.Conv2d(a, classes, 1)) if segment else nn.Sequential(body, *head(a, classes))
    )
