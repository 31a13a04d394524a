"""MobileNetV2: depthwise convolutions between two that mix the channels."""

from __future__ import annotations

from torch import nn

from models.layers import Residual, conv_norm, conv_norm_relu, head, scaled

#: `(expansion, channels, repetitions, stride)` of each stage, strides for images of 32 pixels.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def _inverted(inputs: int, outputs: int, expansion: int, stride: int) -> nn.Module:
    inner = inputs * expansion
    body = nn.Sequential(
        *conv_norm_relu(inputs, inner, 1),
        *conv_norm_relu(inner, inner, 3, stride, groups=inner),
        *conv_norm(inner, outputs, 1),
    )
    return Residual(body, relu=False) if stride == 1 and inputs == outputs else body


def mobilenet_v2(classes: int = 10, size: int = 32, width: float = 1.0) -> nn.Module:
    """MobileNetV2 (Sandler et al. 2018) with ReLU; images above 32 pixels are halved by the stem."""
    channels = scaled(32, width)
    layers = conv_norm_relu(3, channels, stride=1 if size <= 32 else 2)
    for expansion, wanted, repetitions, first in _STAGES:
        outputs = scaled(wanted, width)
        for i in range(repetitions):
            layers.append(_inverted(channels, outputs, expansion, first if i == 0 else 1))
            channels = outputs
    last = scaled(1280, width)
    return nn.Sequential(*layers, *conv_norm_relu(channels, last, 1), *head(last, classes))
