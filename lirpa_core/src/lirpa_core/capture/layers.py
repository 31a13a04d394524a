"""PyTorch's own layers, each as the operator that its `forward` calls.

The table holds exact classes. A layer that is set up in a way that a function here does not cover (another padding mode, indices
of a maximum, batch norm without running statistics) is `None`, and its model is exported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import torch
from torch import nn

aten = torch.ops.aten


@dataclass(frozen=True)
class OperatorCall:
    """What a layer calls.

    Attributes:
        target: The operator.
        tensors: Names of the parameters and buffers that it takes after the layer's input, in order; None where it is given none.
        rest: Its further arguments.
    """

    target: Any
    tensors: tuple[str | None, ...] = ()
    rest: tuple[Any, ...] = ()


#: What a layer calls; None: that is not known.
Described: TypeAlias = Callable[[Any], OperatorCall | None]


def _has(layer: nn.Module, *names: str) -> tuple[str | None, ...]:
    return tuple([name if getattr(layer, name) is not None else None for name in names])


def _linear(layer: nn.Linear) -> OperatorCall:
    return OperatorCall(aten.linear.default, _has(layer, "weight", "bias"))


def _convolution(whole: Any) -> Described:
    def described(layer: Any) -> OperatorCall | None:
        if layer.padding_mode != "zeros":
            return None
        target = whole.padding if isinstance(layer.padding, str) else whole.default
        settings = (layer.stride, layer.padding, layer.dilation, layer.groups)
        return OperatorCall(target, _has(layer, "weight", "bias"), settings)

    return described


def _batch_norm(layer: Any) -> OperatorCall | None:
    if layer.training or layer.running_mean is None or layer.running_var is None or layer.momentum is None:
        return None
    tensors = _has(layer, "weight", "bias", "running_mean", "running_var")
    return OperatorCall(
        aten.batch_norm.default, tensors, (False, layer.momentum, layer.eps, torch.backends.cudnn.enabled)
    )


def _dropout(layer: Any) -> OperatorCall | None:
    return None if layer.training else OperatorCall(aten.dropout.default, (), (layer.p, False))


def _max_pool(layer: nn.MaxPool2d) -> OperatorCall | None:
    if layer.return_indices:
        return None
    settings = (
        *map(_pair, (layer.kernel_size, layer.stride, layer.padding, layer.dilation)),
        layer.ceil_mode,
    )
    return OperatorCall(aten.max_pool2d.default, (), settings)


def _average_pool(layer: nn.AvgPool2d) -> OperatorCall:
    sizes = tuple(map(_pair, (layer.kernel_size, layer.stride, layer.padding)))
    return OperatorCall(
        aten.avg_pool2d.default,
        (),
        (*sizes, layer.ceil_mode, layer.count_include_pad, layer.divisor_override),
    )


def _pair(size: Any) -> Any:
    return (size, size) if isinstance(size, int) else size


def _elementwise(fresh: Any, *settings: str, in_place: Any = None) -> Described:
    def described(layer: Any) -> OperatorCall | None:
        target = in_place if getattr(layer, "inplace", False) else fresh
        rest = tuple([getattr(layer, name) for name in settings])
        return OperatorCall(target, (), rest) if target is not None else None

    return described


def _gelu(layer: nn.GELU) -> OperatorCall | None:
    return OperatorCall(aten.gelu.default) if layer.approximate == "none" else None


#: By class.
LAYERS: Mapping[type[nn.Module], Described] = MappingProxyType(
    {
        nn.Linear: _linear,
        nn.Conv1d: _convolution(aten.conv1d),
        nn.Conv2d: _convolution(aten.conv2d),
        nn.Conv3d: _convolution(aten.conv3d),
        nn.BatchNorm1d: _batch_norm,
        nn.BatchNorm2d: _batch_norm,
        nn.BatchNorm3d: _batch_norm,
        nn.Dropout: _dropout,
        nn.Flatten: _elementwise(aten.flatten.using_ints, "start_dim", "end_dim"),
        nn.MaxPool2d: _max_pool,
        nn.AvgPool2d: _average_pool,
        nn.ReLU: _elementwise(aten.relu.default, in_place=aten.relu_.default),
        nn.LeakyReLU: _elementwise(
            aten.leaky_relu.default, "negative_slope", in_place=aten.leaky_relu_.default
        ),
        nn.ELU: _elementwise(aten.elu.default, "alpha", in_place=aten.elu_.default),
        nn.SiLU: _elementwise(aten.silu.default, in_place=aten.silu_.default),
        nn.GELU: _gelu,
        nn.Sigmoid: _elementwise(aten.sigmoid.default),
        nn.Tanh: _elementwise(aten.tanh.default),
        nn.Softplus: _elementwise(aten.softplus.default, "beta", "threshold"),
    }
)


def called_by(layer: nn.Module) -> OperatorCall | None:
    """The operator that a layer of PyTorch calls; None where that is not known.

    Args:
        layer: A module; one of a subclass, or whose class has been given another `forward`, is not PyTorch's.
    """
    kind = type(layer)
    if kind not in LAYERS or kind.forward.__module__.partition(".")[0] != "torch":
        return None
    return LAYERS[kind](layer)


__all__ = ["LAYERS", "OperatorCall", "called_by"]
