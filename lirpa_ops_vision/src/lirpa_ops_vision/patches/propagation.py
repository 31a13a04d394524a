"""How patches, and selected rows, pass through linear operators: entries of the core's dispatch table."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import torch
from torch import Tensor

from lirpa_core.linear.coefficients import Coefficients, SelectedRows
from lirpa_core.linear.operators import LinearOp
from lirpa_core.linear.relax import take_rows
from lirpa_core.operators import factor
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules import Slot, StructuralOp
from lirpa_ops_vision.conv import ConvGeometry, Convolution
from lirpa_ops_vision.image_operators import spatial
from lirpa_ops_vision.patches.placement import Pair, Placement
from lirpa_ops_vision.patches.structure import PatchesCoefficients, is_image, placement_of, single_pixels
from lirpa_ops_vision.windows import WindowSum

aten = torch.ops.aten


def _slides(op: LinearOp) -> Convolution | None:
    """A two-dimensional convolution of an image; None for others, which take the dense way."""
    assert isinstance(op, Convolution)
    if op.geometry.transposed or op.geometry.dims != 2 or not is_image(op.in_shape):
        return None
    return op


def _size(op: LinearOp) -> Pair:
    height, width = op.in_shape[-2:]
    return height, width


def _through(place: Placement, geometry: ConvGeometry, weight: Tensor, size: Pair) -> Placement:
    extent = [d * (k - 1) + 1 for d, k in zip(geometry.dilation, weight.shape[2:], strict=True)]
    return place.through(extent, geometry.stride, geometry.before, size)


def conv_patches(op: LinearOp, A: PatchesCoefficients) -> Coefficients | None:
    """Patches through a convolution: the windows grow by its kernel and spread by its stride."""
    conv = _slides(op)
    if conv is None:
        return None
    geometry, weight = conv.geometry, conv.weight
    place = _through(A.place, geometry, weight, _size(op))
    if place.covers:
        return None
    values = A.cleaned().values  # [R, B, C_out, kh, kw]
    found = geometry.spread(values.flatten(0, 1), weight, (0, 0), (0, 0))
    return PatchesCoefficients(found.unflatten(0, values.shape[:2]), place, op.in_shape, clean=place.inside)


def conv_rows(op: LinearOp, A: SelectedRows) -> Coefficients | None:
    """Selected rows through a convolution: kernels of the weight, without a product."""
    conv = _slides(op)
    if conv is None:
        return None
    place = _through(placement_of(A), conv.geometry, conv.weight, _size(op))
    if place.covers:
        return None
    kernels = _whole_kernels(conv.weight, conv.geometry)  # [C_out, C, kh, kw]
    channel = A.index // math.prod(A.shape[-2:])
    values = take_rows(kernels, channel) * A.values[..., None, None, None]
    return PatchesCoefficients(values, place, op.in_shape, clean=place.inside)


def _whole_kernels(weight: Tensor, geometry: ConvGeometry) -> Tensor:
    """Kernels over all input channels, with the gaps of a dilation filled with zeros."""
    out, each, *kernel = weight.shape
    if geometry.groups > 1:
        group = torch.arange(out, device=weight.device) // (out // geometry.groups)
        select = (group.unsqueeze(-1) == torch.arange(geometry.groups, device=group.device)).to(
            weight.dtype
        )  # [C_out, groups]
        whole = select[:, :, None, None, None] * weight[:, None]
        weight = whole.reshape(out, geometry.groups * each, *kernel)
    for d, step in enumerate(geometry.dilation):
        if step > 1:
            spread = torch.stack([weight, *[torch.zeros_like(weight)] * (step - 1)], d + 3)
            weight = spread.flatten(d + 2, d + 3).narrow(d + 2, 0, (kernel[d] - 1) * step + 1)
    return weight


# ---------------------------------------------------------------------- sums, concatenation


def add_patches(op: LinearOp, A: PatchesCoefficients) -> Coefficients | None:
    """Patches through a sum, a difference or a negation, of operands of the output's shape."""
    assert isinstance(op, StructuralOp)
    if op.in_shape != op.call.shape:
        return None
    by = factor(op.call, _name_of(op))
    return A if by == 1 else A.with_values(A.values * by, clean=A.clean)


def _name_of(op: StructuralOp) -> str:
    return next(n for n, v in op.call.arguments.items() if isinstance(v, Slot) and v.index == op.slot)


def cat_patches(op: LinearOp, A: PatchesCoefficients) -> Coefficients | None:
    """Patches through a concatenation of channels: a slice of them."""
    assert isinstance(op, StructuralOp)
    rank = len(op.in_shape)
    if op.call["dim"] % rank != rank - 3:
        return None
    start = 0
    for value in op.call["tensors"]:
        if isinstance(value, Slot) and value.index == op.slot:
            return A.channels(start, start + op.in_shape[-3])
        shape = op.call.shapes[value.index] if isinstance(value, Slot) else value.value.shape[-rank:]
        start += shape[-3]
    return None


def pad_patches(op: LinearOp, A: PatchesCoefficients) -> Coefficients | None:
    """Patches through a constant border, or a crop: the same windows over another part of the plane."""
    assert isinstance(op, StructuralOp)
    given = op.call["pad"]
    if op.call.arguments.get("mode", "constant") != "constant" or any(given[4:]) or not is_image(op.in_shape):
        return None
    left, _, top, _ = (*given, 0, 0, 0, 0)[:4]
    offset = (A.place.offset[0] - top, A.place.offset[1] - left)
    place = replace(A.place, offset=offset, size=_size(op))
    return replace(A.cleaned(), place=place, size=op.in_shape, clean=place.inside)


# ---------------------------------------------------------------------- average pooling


def average_patches(op: LinearOp, A: PatchesCoefficients) -> Coefficients | None:
    """Patches through average pooling: a division, then a convolution with ones."""
    assert isinstance(op, StructuralOp)
    call = op.call
    dims = 2
    kernel = spatial(call["kernel_size"], dims)
    stride = spatial(call["stride"] or kernel, dims)
    padding = spatial(call["padding"], dims)
    channels = op.in_shape[-3]
    geometry = ConvGeometry(stride, padding, padding, (1, 1), channels)
    weight = A.values.new_ones(channels, 1, *kernel)
    place = _through(A.place, geometry, weight, _size(op))
    if place.covers or not is_image(op.in_shape):
        return None
    divided = A.scale(_average_weights(op, A.values.dtype))
    assert isinstance(divided, PatchesCoefficients)
    values = divided.cleaned().values
    found = geometry.spread(values.flatten(0, 1), weight, (0, 0), (0, 0))
    return PatchesCoefficients(found.unflatten(0, values.shape[:2]), place, op.in_shape, clean=place.inside)


def _average_weights(op: StructuralOp, dtype: torch.dtype) -> Tensor:
    """What each output element multiplies its window by: `[1, *S_out]`, constant where possible."""
    call = op.call
    ones = torch.ones(1, *op.in_shape, dtype=dtype, device=call.device)
    weights = op.apply(ones) / _number_inside(op, ones)
    first = weights.flatten()[:1]
    uniform = not any(spatial(call["padding"], 2)) and not call["ceil_mode"]
    return first.expand(weights.shape) if uniform else weights


def _number_inside(op: StructuralOp, ones: Tensor) -> Tensor:
    """How many elements of each window lie in the image: the same pooling with a divisor of one."""
    arguments = {**op.call.arguments, "divisor_override": 1}
    return replace(op, call=replace(op.call, arguments=arguments)).apply(ones)


def average_rows(op: LinearOp, A: SelectedRows) -> Coefficients | None:
    """Selected rows through average pooling, by way of patches of one pixel."""
    single = single_pixels(A)
    return None if single is None else average_patches(op, single)


# ---------------------------------------------------------------------- maximum pooling


def window_patches(op: LinearOp, A: PatchesCoefficients) -> Coefficients | None:
    """Patches through sums over the windows of one kernel, each element of a window with weights of its own."""
    assert isinstance(op, WindowSum)
    slide = op.windows.slide
    if slide is None or len(slide.kernel) != 2 or not is_image(op.in_shape):
        return None
    extent = [d * (k - 1) + 1 for d, k in zip(slide.dilation, slide.kernel, strict=True)]
    place = A.place.through(extent, slide.stride, slide.padding, _size(op))
    if place.covers:
        return None
    A = A.cleaned()
    total: Tensor | None = None
    for k, (i, j) in enumerate(itertools.product(*map(range, slide.kernel))):
        part = A.scale(op.weight[..., k])
        assert isinstance(part, PatchesCoefficients)
        values = part.values
        if total is None:
            total = values.new_zeros(*values.shape[:3], *place.kernel)
        first = (i * slide.dilation[0], j * slide.dilation[1])
        rows, columns = (
            slice(at, at + step * (n - 1) + 1, step)
            for at, step, n in zip(first, slide.stride, A.place.kernel, strict=True)
        )
        total[..., rows, columns] += values
    assert total is not None
    return PatchesCoefficients(total, place, op.in_shape, clean=place.inside)


def window_rows(op: LinearOp, A: SelectedRows) -> Coefficients | None:
    """Selected rows through sums over windows, by way of patches of one pixel."""
    single = single_pixels(A)
    return None if single is None else window_patches(op, single)


def register(registry: OperatorRegistry) -> None:
    """Register this file's kernels."""
    registry.kernel(Convolution, SelectedRows, conv_rows, form="patches")
    registry.kernel(Convolution, PatchesCoefficients, conv_patches)
    for op in (
        aten.add.Tensor, aten.add.Scalar, aten.sub.Tensor, aten.sub.Scalar, aten.rsub.Scalar, aten.neg.default,
    ):  # fmt: skip
        registry.kernel(op, PatchesCoefficients, add_patches)
    registry.kernel(aten.cat.default, PatchesCoefficients, cat_patches)
    registry.kernel(aten.pad.default, PatchesCoefficients, pad_patches)
    registry.kernel(aten.constant_pad_nd.default, PatchesCoefficients, pad_patches)
    registry.kernel(aten.avg_pool2d.default, SelectedRows, average_rows, form="patches")
    registry.kernel(aten.avg_pool2d.default, PatchesCoefficients, average_patches)
    registry.kernel(WindowSum, SelectedRows, window_rows, form="patches")
    registry.kernel(WindowSum, PatchesCoefficients, window_patches)
