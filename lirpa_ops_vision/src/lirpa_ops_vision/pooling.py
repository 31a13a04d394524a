"""Rules of average pooling and maximum pooling, adaptive ones included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.call import Call
from lirpa_core.rules.general import General
from lirpa_core.rules.linear import Linear
from lirpa_ops_vision.image_operators import ImageOperator, as_images, spatial
from lirpa_ops_vision.windows import Windows, WindowSum

aten = torch.ops.aten

#: How much of an element's width counts for it beside its lower bound.
_SHARE = 2**-10

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
        """Below: one element of the window. Above: `t + Σ relu(xᵢ − t)` with chords.

        Below, the element with the largest lower bound is taken, and of those with nearly the same (all are
        zero behind a ReLU) the one with the largest upper bound. Above, any threshold `t` is sound,
        since `max x = t + max(xᵢ − t)`; at the centre of the box the value of the sum of chords is
        convex and piecewise linear in `t ≥ max l`, and least for every `t` between the third and the
        second largest upper bound. The middle of that is taken: never worse than the constant `max u`
        (both have the same gap only where all elements share one box), nor than `t = max l`, and equal
        to an element that dominates all others.
        """
        (x,) = inputs
        windows = self.windows(call)
        low, up = windows.gather(x.lower, -torch.inf), windows.gather(x.upper, -torch.inf)  # [B, *S, K]
        inside = windows.inside
        best = torch.where(inside, torch.lerp(low, up, _SHARE), -torch.inf).argmax(-1, keepdim=True)
        first = torch.zeros_like(low).scatter(-1, best, 1.0)
        t = _threshold(low.amax(-1), up).unsqueeze(-1)
        above = up > t  # so low <= t < up: the chord has a slope
        slope = torch.where(above, up - t, 0) / torch.where(above, up - low, 1)
        bias = t.squeeze(-1) - (slope * torch.where(above, low, 0)).sum(-1)
        shape = call.shapes[0]
        lower = Affine((WindowSum(windows, first, shape),))
        return Relaxation(lower, Affine((WindowSum(windows, slope, shape),), bias))

    def unstable_inputs(self, call: Call, inputs: tuple[Interval, ...]) -> tuple[Tensor | None, ...]:
        """The elements that may be the largest, in windows where more than one may."""
        (x,) = inputs
        windows = self.windows(call)
        low, up = windows.gather(x.lower, -torch.inf), windows.gather(x.upper, -torch.inf)
        rivals = (up > low.amax(-1, keepdim=True)) | (low == low.amax(-1, keepdim=True))
        open_ = rivals & (rivals.sum(-1, keepdim=True) > 1)
        return ((windows.scatter(open_.to(x.lower.dtype)) > 0) & (x.upper > x.lower),)


def _threshold(largest: Tensor, up: Tensor) -> Tensor:
    """Between the third and the second largest upper bound, and not below the largest lower bound."""
    top = up.topk(min(3, up.shape[-1]), -1).values
    if top.shape[-1] == 1:
        return largest
    second = top[..., 1].maximum(largest)
    third = top[..., -1].maximum(largest) if top.shape[-1] == 3 else largest
    return (second + third) / 2


def _only_values(call: Call) -> str | None:
    if call.node.output in (None, 0):
        return None
    return "the indices of a maximum have no bounds; use only the pooled values"


def _sign(call: Call, slot: int) -> int:
    divisor: Any = call.arguments.get("divisor_override")
    return -1 if divisor is not None and divisor < 0 else 1


def _maximum(windows: WindowsOf) -> General:
    bounds = MaxPool(windows)
    return General(("self",), bounds.bound, bounds.affine, bounds.unstable_inputs, _only_values)


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
