"""Residual networks: ResNet-18, ResNeXt and WideResNet, each with the stem for small images."""

from __future__ import annotations

from torch import nn

from models.layers import Residual, conv_norm, conv_norm_relu, head, scaled


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module | None:
    return (
        None if inputs == outputs and stride == 1 else nn.Sequential(*conv_norm(inputs, outputs, 1, stride))
    )


def _basic(inputs: int, outputs: int, stride: int) -> nn.Module:
    body = nn.Sequential(*conv_norm_relu(inputs, outputs, 3, stride), *conv_norm(outputs, outputs))
    return Residual(body, _shortcut(inputs, outputs, stride))


def resnet18(classes: int = 10, size: int = 32, width: float = 1.0) -> nn.Module:
    """ResNet-18 (He et al. 2016); images above 32 pixels are halved by the stem."""
    channels = scaled(64, width)
    layers = conv_norm_relu(3, channels, stride=1 if size <= 32 else 2)
    for stage in range(4):
        outputs = scaled(64 * 2**stage, width)
        for stride in (1 if stage == 0 else 2, 1):
            layers.append(_basic(channels, outputs, stride))
            channels = outputs
    return nn.Sequential(*layers, *head(channels, classes))


def _grouped(inputs: int, inner: int, groups: int, stride: int) -> nn.Module:
    body = nn.Sequential(
        *conv_norm_relu(inputs, inner, 1),
        *conv_norm_relu(inner, inner, 3, stride, groups),
        *conv_norm(inner, 2 * inner, 1),
    )
    return Residual(body, _shortcut(inputs, 2 * inner, stride))


def resnext(classes: int = 10, size: int = 32, width: float = 1.0, groups: int = 2) -> nn.Module:
    """ResNeXt with one grouped bottleneck a stage (Xie et al. 2017), groups 32 wide in the first."""
    channels = scaled(64, width)
    layers = conv_norm_relu(3, channels, stride=1 if size <= 32 else 2)
    for stage in range(3):
        inner = groups * scaled(32 * 2**stage, width)
        layers.append(_grouped(channels, inner, groups, 1 if stage == 0 else 2))
        channels = 2 * inner
    return nn.Sequential(*layers, *head(channels, classes))


def wide_resnet(classes: int = 10, size: int = 32, width: float = 1.0, widen: int = 4) -> nn.Module:
    """WideResNet of depth 10 (Zagoruyko and Komodakis 2016): a block a stage, `widen` times 16 channels."""
    channels = scaled(16, width)
    layers = conv_norm_relu(3, channels, stride=1 if size <= 32 else 2)
    for stage in range(3):
        outputs = scaled(16 * widen * 2**stage, width)
        layers.append(_basic(channels, outputs, 1 if stage == 0 else 2))
        channels = outputs
    return nn.Sequential(*layers, *head(channels, classes))


def _plain(inputs: int, outputs: int, stride: int) -> nn.Module:
    body = nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1), nn.ReLU(), nn.Conv2d(outputs, outputs, 3, 1, 1)
    )
    same = inputs == outputs and stride == 1
    return Residual(body, None if same else nn.Conv2d(inputs, outputs, 1, stride))


def _vnn_comp(channels: int, outputs: int, strides: tuple[int, ...], classes: int, size: int) -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, 2, 1), nn.ReLU()]
    left = size // 2
    for stride in strides:
        layers.append(_plain(channels, outputs, stride))
        channels, left = outputs, left // stride
    linear = [nn.Flatten(), nn.Linear(channels * left * left, 100), nn.ReLU(), nn.Linear(100, classes)]
    return nn.Sequential(*layers, *linear)


def resnet_2b(classes: int = 10, size: int = 32, width: float = 1.0) -> nn.Module:
    """The smaller residual network of VNN-COMP 2021: two blocks, no normalisation."""
    return _vnn_comp(scaled(8, width), scaled(16, width), (2, 1), classes, size)


def resnet_4b(classes: int = 10, size: int = 32, width: float = 1.0) -> nn.Module:
    """The larger residual network of VNN-COMP 2021: four blocks, no normalisation."""
    return _vnn_comp(scaled(16, width), scaled(32, width), (2, 1, 2, 1), classes, size)
