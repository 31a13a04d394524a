"""Rules of average pooling and maximum pooling, adaptive ones included."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from lirpa_core.linear import Accuracy, Affine, Interval, Relaxation, separated
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules import ByCall, Call, General, Linear, Slope
from lirpa_core.rules.relaxations import (
    MaximumPlanes,
    maximum_choices,
    maximum_planes,
    maximum_planes_with,
    rivals,
)
from lirpa_ops_vision.image_operators import ImageOperator, as_images, spatial
from lirpa_ops_vision.windows import Windows, WindowSum

aten = torch.ops.aten

#: From a call to the windows that it reads.
WindowsOf: TypeAlias = Callable[[Call], Windows]


def regular_windows(call: Call) -> Windows:
    """Windows of a pooling operator with a kernel, a stride and so on."""
    size, out_size = _sizes(call)
    dims = len(size)
    kernel = spatial(call["kernel_size"], dims)
    stride = spatial(call["stride"] or kernel, dims)
    padding = spatial(call["padding"], dims)
    dilation = spatial(call.arguments.get("dilation", 1), dims)
    return Windows.regular(size, out_size, kernel, stride, padding, dilation, call.device)


def adaptive_windows(call: Call) -> Windows:
    """Windows of an adaptive pooling operator."""
    return Windows.adaptive(*_sizes(call), call.device)


def _sizes(call: Call) -> tuple[tuple[int, ...], tuple[int, ...]]:
    dims = pooled_dims(call)
    shape = call.shapes[0]
    return shape[len(shape) - dims :], call.shape[len(call.shape) - dims :]


def pooled_dims(call: Call) -> int:
    """Number of spatial dimensions, from the operator's name."""
    name = str(call.node.target)
    return next(d for d in (1, 2, 3) if f"pool{d}d" in name)


def image_rank(call: Call) -> int:
    """Channels and space."""
    return pooled_dims(call) + 1


@dataclass(frozen=True)
class MaxPool:
    """Bounds of maximum pooling with any windows.

    Attributes:
        windows: From the call to the windows.
    """

    windows: WindowsOf

    def bound(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        """The operator on both ends, exactly the range."""
        (x,) = inputs
        return Interval(self._evaluate(call, x.lower), self._evaluate(call, x.upper))

    def _evaluate(self, call: Call, x: Tensor) -> Tensor:
        images = call.function([as_images(x, image_rank(call))], ())
        return images.reshape(x.shape[0], *call.shape)

    def affine(self, call: Call, inputs: tuple[Interval, ...]) -> Relaxation:
        """See `maximum_planes`."""
        windows, low, up = self._gathered(call, inputs)
        return self._relaxation(call, windows, maximum_planes(low, up))

    def choices(self, call: Call, inputs: tuple[Interval, ...]) -> tuple[Slope, ...]:
        """See `maximum_choices`."""
        _, low, up = self._gathered(call, inputs)
        return maximum_choices(low, up)

    def affine_with(self, call: Call, inputs: tuple[Interval, ...], slopes: Sequence[Tensor]) -> Relaxation:
        """See `maximum_planes_with`."""
        windows, low, up = self._gathered(call, inputs)
        return self._relaxation(call, windows, maximum_planes_with(low, up, *slopes))

    def _gathered(self, call: Call, inputs: tuple[Interval, ...]) -> tuple[Windows, Tensor, Tensor]:
        (x,) = inputs
        windows = self.windows(call)
        return windows, windows.gather(x.lower, -torch.inf), windows.gather(x.upper, -torch.inf)

    def _relaxation(self, call: Call, windows: Windows, planes: MaximumPlanes) -> Relaxation:
        shape = call.shapes[0]
        lower = Affine((WindowSum(windows, planes.below, shape),))
        bias, infinite = separated(planes.bias, call.infinite)
        return Relaxation(lower, Affine((WindowSum(windows, planes.above, shape),), bias, infinite))

    def unstable_inputs(self, call: Call, inputs: tuple[Interval, ...]) -> tuple[Tensor | None, ...]:
        """See `rivals`."""
        windows, low, up = self._gathered(call, inputs)
        return (windows.scatter(rivals(low, up).to(low.dtype)) > 0,)

    def places(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        """The first and the last place in the image at which the largest element of a window may be."""
        windows, low, up = self._gathered(call, inputs)
        shape, dims = call.shapes[0], pooled_dims(call)
        size = math.prod(shape[len(shape) - dims :])
        numbers = torch.arange(size, dtype=low.dtype, device=low.device).reshape(shape[len(shape) - dims :])
        at = windows.gather(numbers.expand(1, *shape), -1.0)
        possible = (up >= low.amax(-1, keepdim=True)) & (at >= 0)
        first, last = torch.where(possible, at, torch.inf).amin(-1), torch.where(possible, at, -1).amax(-1)
        return Interval(first, last)

    def places_of(self, call: Call, inputs: tuple[Interval, ...]) -> Relaxation:
        """Planes that do not follow the image."""
        box = self.places(call, inputs)
        return Relaxation(Affine((None,), box.lower), Affine((None,), box.upper))


def max_unpool(self: Tensor, indices: Tensor, output_size: Sequence[int]) -> Tensor:
    """Zeros, and at the given places of each image the pooled elements."""
    dims = len(output_size)
    kept = self.shape[: self.dim() - dims]
    empty = torch.zeros(*kept, math.prod(output_size), dtype=self.dtype, device=self.device)
    flat = empty.scatter(-1, indices.reshape(*kept, -1), self.reshape(*kept, -1))
    return flat.reshape(*kept, *output_size)


def _sign(call: Call, slot: int) -> int:
    divisor: Any = call.arguments.get("divisor_override")
    return -1 if divisor is not None and divisor < 0 else 1


def _maximum(windows: WindowsOf) -> ByCall:
    bounds = MaxPool(windows)
    values = General(
        ("self",), bounds.bound, bounds.affine, bounds.unstable_inputs,
        choices=bounds.choices, affine_with=bounds.affine_with,
    )  # fmt: skip
    places = General(("self",), bounds.places, bounds.places_of, precision=lambda call: Accuracy(4, "exact"))
    return ByCall(values, places, lambda call: call.node.output == 1)


AVERAGE = Linear(("self",), sign=_sign, native=ImageOperator(image_rank))
MAXIMUM = _maximum(regular_windows)
ADAPTIVE_MAXIMUM = _maximum(adaptive_windows)

_AVERAGES = (
    aten.avg_pool1d.default, aten.avg_pool2d.default, aten.avg_pool3d.default,
    aten.adaptive_avg_pool1d.default, aten.adaptive_avg_pool2d.default, aten.adaptive_avg_pool3d.default,
    aten._adaptive_avg_pool2d.default, aten._adaptive_avg_pool3d.default,
)  # fmt: skip
_MAXIMA = (
    aten.max_pool1d.default, aten.max_pool2d.default, aten.max_pool3d.default,
    aten.max_pool1d_with_indices.default, aten.max_pool2d_with_indices.default,
    aten.max_pool3d_with_indices.default,
)  # fmt: skip
_ADAPTIVE_MAXIMA = (
    aten.adaptive_max_pool1d.default, aten.adaptive_max_pool2d.default, aten.adaptive_max_pool3d.default,
)  # fmt: skip


def register(registry: OperatorRegistry) -> None:
    """Register this file's rules."""
    for ops, rule in ((_AVERAGES, AVERAGE), (_MAXIMA, MAXIMUM), (_ADAPTIVE_MAXIMA, ADAPTIVE_MAXIMUM)):
        for op in ops:
            registry.register(op, rule)
    registry.decompose(aten.max_unpool2d.default, max_unpool)
