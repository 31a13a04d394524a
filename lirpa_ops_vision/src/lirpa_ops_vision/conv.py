"""Rules of convolutions and transposed convolutions in one, two and three dimensions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lirpa_core.devices import is_cpu
from lirpa_core.graph import Shape
from lirpa_core.linear.operators import OpOfShapes
from lirpa_core.linear.relax import unobserved
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules import WEIGHT_MIXTURE, Bilinear, Call, Const, weight_planes
from lirpa_ops_vision.convolve import Options, convolve
from lirpa_ops_vision.image_operators import as_images, spatial
from lirpa_ops_vision.transposed import pays, spread, spread_by_columns

aten = torch.ops.aten

#: Up to so many elements of an image the packing of weights takes longer than the convolution.
_SMALL = 2**12
#: Up to so many channels a transposed convolution is a matrix product, see `ConvGeometry.spread`.
_FEW = 4


@dataclass(frozen=True)
class ConvGeometry:
    """The options of a convolution, one number for each spatial dimension.

    Attributes:
        stride: Step between neighbouring windows.
        before: Zero padding before the first element.
        after: Zero padding behind the last element; differs from `before` for `'same'` and even kernels.
        dilation: Step between neighbouring elements of the kernel.
        groups: Number of channel groups.
        transposed: Whether this is the transpose of a convolution.
        output_padding: What a transposed convolution adds behind the last element.
    """

    stride: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    transposed: bool = False
    output_padding: tuple[int, ...] = ()

    @property
    def dims(self) -> int:
        """Number of spatial dimensions."""
        return len(self.stride)

    @property
    def _is_plain(self) -> bool:
        """Whether this is a convolution of planes, neither dilated, grouped nor transposed."""
        return (
            self.dims == 2 and self.groups == 1 and not self.transposed and all(d == 1 for d in self.dilation)
        )

    @classmethod
    def of(cls, call: Call) -> ConvGeometry:
        """Read the geometry from a call of any convolution."""
        weight = call["weight"]
        shape = weight.value.shape if isinstance(weight, Const) else call.shapes[weight.index]
        dims = _space(call)
        stride, dilation = spatial(call["stride"], dims), spatial(call["dilation"], dims)
        before, after = _padding(call["padding"], tuple(shape[2:]), dilation)
        transposed = "output_padding" in call.arguments and call.arguments.get("transposed", True)
        extra = spatial(call.arguments.get("output_padding", 0), dims)
        return cls(stride, before, after, dilation, int(call["groups"]), bool(transposed), extra)

    def run(self, x: Tensor, weight: Tensor) -> Tensor:
        """The convolution of `[N, C, *space]` with `[C_out, C / groups, *kernel]`, without bias."""
        if self.before != self.after:
            x = torch.constant_pad_nd(x, _border(self.before, self.after))
        elif self._is_plain and x.numel() <= _SMALL and unobserved(x) and x.dtype == weight.dtype:
            small: Tensor = aten._slow_conv2d_forward.default(
                x, weight, list(weight.shape[2:]), None, self.stride, self.before
            )
            return small
        padding = (0,) * self.dims if self.before != self.after else self.before
        return convolve(
            x,
            weight,
            Options(self.stride, padding, self.dilation, self.transposed, self.output_padding, self.groups),
        )

    def backpropagate(self, A: Tensor, weight: Tensor, size: Sequence[int]) -> Tensor:
        """The transpose of `run`: `[N, C_out, *space_out]` to `[N, C, *size]`."""
        if self.transposed:
            zeros = (0,) * self.dims
            out = convolve(
                A, weight, Options(self.stride, self.before, self.dilation, False, zeros, self.groups)
            )
            # A large output padding leaves room for windows that the operator does not have.
            return out[(slice(None), slice(None), *(slice(n) for n in size))]
        uneven = self.before != self.after
        padding = (0,) * self.dims if uneven else self.before
        whole = [n + a + b for n, a, b in zip(size, self.before, self.after, strict=True)]
        covered = [
            (n - 1) * s + d * (k - 1) + 1
            for n, s, d, k in zip(A.shape[2:], self.stride, self.dilation, weight.shape[2:], strict=True)
        ]
        # What the last window leaves over on the right, because the stride does not divide the rest.
        left_over = [n - c for n, c in zip(whole, covered, strict=True)]
        out = self.spread(A, weight, padding, left_over)
        if uneven:
            out = torch.constant_pad_nd(out, [-n for n in _border(self.before, self.after)])
        return out

    def spread(self, A: Tensor, weight: Tensor, padding: Sequence[int], extra: Sequence[int]) -> Tensor:
        """A transposed convolution with this stride, dilation and grouping.

        To few channels, as those of an input image, a matrix product whose columns are then added up takes
        about half the time on a CPU.
        """
        size = tuple(
            (n - 1) * s + d * (k - 1) + 1 - 2 * p + e
            for n, s, d, k, p, e in zip(
                A.shape[2:], self.stride, self.dilation, weight.shape[2:], padding, extra, strict=True
            )
        )
        if unobserved(A) and pays(A, weight, self.stride, self.dilation, self.groups):
            return spread(A, weight, self.stride, padding, size)
        if self.dims == 2 and self.groups == 1 and weight.shape[1] <= _FEW and is_cpu(A):
            return spread_by_columns(A, weight, self.stride, padding, self.dilation, size)
        return convolve(
            A, weight, Options(self.stride, tuple(padding), self.dilation, True, tuple(extra), self.groups)
        )


def _padding(
    given: Any, kernel: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if given == "valid":
        return (0,) * len(kernel), (0,) * len(kernel)
    if given == "same":
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return tuple(n // 2 for n in total), tuple(n - n // 2 for n in total)
    both = spatial(given, len(kernel))
    return both, both


def _border(before: Sequence[int], after: Sequence[int]) -> list[int]:
    """Paddings in the order of `constant_pad_nd`: last dimension first."""
    return list(itertools.chain.from_iterable(zip(reversed(before), reversed(after), strict=True)))


@dataclass(frozen=True, eq=False)
class Convolution(OpOfShapes):
    """A convolution of an image with fixed weights, the same for all examples.

    Attributes:
        geometry: Its options.
        weight: `[C_out, C / groups, *kernel]` (`[C, C_out / groups, *kernel]` where transposed).
        shapes: `S_in` and `S_out`.
    """

    geometry: ConvGeometry
    weight: Tensor
    shapes: tuple[Shape, Shape]

    @property
    def fan_in(self) -> int:
        return self._products[0]

    @property
    def fan_out(self) -> int:
        return self._products[1]

    @property
    def _products(self) -> tuple[int, int]:
        """Products of weights behind an output, and of an input: channels times the kernel, at most."""
        each = math.prod(self.weight.shape[1:])
        other = math.prod(self.weight.shape[2:]) * (self.weight.shape[0] // self.geometry.groups)
        return (other, each) if self.geometry.transposed else (each, other)

    def apply(self, x: Tensor, lead: int = 1) -> Tensor:
        return self._run(x, self.weight, lead)

    def apply_abs(self, x: Tensor, lead: int = 1) -> Tensor:
        return self._run(x, self.weight.abs(), lead)

    def transpose(self, A: Tensor) -> Tensor:
        dims, shape = self.geometry.dims, self.in_shape
        out = self.geometry.backpropagate(as_images(A, dims + 1), self.weight, shape[len(shape) - dims :])
        return out.reshape(*A.shape[:2], *shape)

    def _run(self, x: Tensor, weight: Tensor, lead: int) -> Tensor:
        out = self.geometry.run(as_images(x, self.geometry.dims + 1), weight)
        return out.reshape(*x.shape[:lead], *self.out_shape)


def convolution(call: Call, slot: int, weight: Const) -> Convolution | None:
    """The operator in the image; None for the weights, and for weights that differ between examples."""
    if weight.batched or call.slots.get("input") != slot:
        return None
    return Convolution(ConvGeometry.of(call), weight.value, (call.shapes[slot], call.shape))


def _space(call: Call) -> int:
    """Number of spatial dimensions, which lie behind the channels that a bias is added to."""
    weight = call["weight"]
    return len(weight.value.shape if isinstance(weight, Const) else call.shapes[weight.index]) - 2


CONV = Bilinear(
    "input", "weight", ("bias",), fixed=convolution, planes=weight_planes, mixture=WEIGHT_MIXTURE, trailing=_space
)  # fmt: skip

#: Convolutions as they are exported, and the general form that decomposition makes of them.
CONVOLUTIONS = (
    aten.conv1d.default, aten.conv2d.default, aten.conv3d.default,
    aten.conv1d.padding, aten.conv2d.padding, aten.conv3d.padding,
    aten.conv_transpose1d.default, aten.conv_transpose2d.input, aten.conv_transpose3d.input,
    aten.convolution.default,
)  # fmt: skip


def register(registry: OperatorRegistry) -> None:
    """Register this file's rules."""
    for op in CONVOLUTIONS:
        registry.register(op, CONV)
