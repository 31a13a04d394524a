"""Calls on which `lirpa check` and the conformance tests try this package's rules and structures."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lirpa_core.graph import Shape
from lirpa_core.linear.coefficients import Coefficients
from lirpa_core.rules import Call, Operand
from lirpa_ops_vision.patches import PatchesCoefficients, Placement
from lirpa_testing import ConformanceCases

aten = torch.ops.aten


def X(*sizes: int) -> Operand:  # noqa: N802
    """A perturbed operand of one example."""
    return Operand(sizes)


def C(*sizes: int) -> Tensor:  # noqa: N802
    """A constant."""
    generator = torch.Generator().manual_seed(sum(sizes))
    return torch.randn(sizes, dtype=torch.float64, generator=generator)


#: Image, weight and options of `conv2d`.
GEOMETRIES: dict[str, tuple[Shape, Shape, dict[str, Any]]] = {
    "one window": ((1, 1, 2, 2), (1, 1, 2, 2), {}),
    "padded": ((1, 2, 4, 4), (3, 2, 3, 3), {"padding": [1, 1]}),
    "strides differ": ((1, 2, 5, 4), (2, 2, 3, 2), {"stride": [2, 1], "padding": [1, 0]}),
    "stride beyond the kernel": ((1, 2, 6, 5), (2, 2, 2, 2), {"stride": [3, 2]}),
    "dilated": ((1, 1, 5, 6), (2, 1, 2, 3), {"dilation": [2, 2], "padding": [1, 2]}),
    "dilated, strided": (
        (1, 1, 7, 6),
        (1, 1, 2, 2),
        {"dilation": [3, 2], "stride": [2, 3], "padding": [2, 1]},
    ),
    "groups": ((1, 4, 3, 3), (4, 2, 2, 2), {"groups": 2}),
    "depthwise": ((1, 3, 4, 3), (6, 1, 3, 3), {"groups": 3, "padding": [1, 1], "stride": [2, 2]}),
    "no batch dimension": ((2, 3, 3), (2, 2, 2, 2), {}),
    "several images": ((2, 1, 3, 3), (1, 1, 2, 2), {}),
    "larger": ((1, 2, 9, 8), (2, 2, 3, 3), {"padding": [1, 1]}),
}

#: Operator, image, weight and options of the other convolutions.
CONVOLUTIONS: dict[str, tuple[Any, Shape, Shape, dict[str, Any]]] = {
    "strided": (aten.conv1d.default, (1, 2, 9), (3, 2, 3), {"stride": [2], "padding": [1]}),
    "same": (aten.conv1d.padding, (1, 1, 9), (2, 1, 4), {"padding": "same", "dilation": [1]}),
    "same, even": (aten.conv2d.padding, (1, 1, 4, 3), (1, 1, 2, 3), {"padding": "same"}),
    "same, dilated": (
        aten.conv2d.padding,
        (1, 1, 9, 8),
        (1, 1, 2, 2),
        {"padding": "same", "dilation": [3, 1]},
    ),
    "valid": (aten.conv2d.padding, (1, 1, 4, 3), (1, 1, 2, 3), {"padding": "valid", "stride": [2, 1]}),
    "volume": (
        aten.conv3d.default,
        (1, 1, 3, 3, 4),
        (2, 1, 2, 2, 2),
        {"stride": [1, 2, 1], "padding": [0, 1, 0]},
    ),
    "volume, same": (aten.conv3d.padding, (1, 1, 2, 3, 2), (1, 1, 2, 2, 2), {"padding": "same"}),
}

#: Those of transposed convolutions, which have no bias here.
TRANSPOSED: dict[str, tuple[Any, Shape, Shape, dict[str, Any]]] = {
    "strided": (aten.conv_transpose1d.default, (1, 2, 4), (2, 1, 3), {"stride": [2], "output_padding": [1]}),
    "padded": (
        aten.conv_transpose2d.input,
        (1, 2, 3, 2),
        (2, 2, 2, 3),
        {"stride": [2, 2], "padding": [1, 1]},
    ),
    "groups": (
        aten.conv_transpose2d.input,
        (1, 2, 2, 3),
        (2, 1, 2, 2),
        {"stride": [1, 2], "dilation": [3, 2], "output_padding": [2, 1], "groups": 2},
    ),
    "volume": (aten.conv_transpose3d.input, (1, 1, 2, 2, 2), (1, 1, 2, 2, 2), {"stride": [2, 1, 1]}),
}

#: Operator, image and options of pooling and interpolation.
IMAGES: dict[str, tuple[Any, Shape, tuple[Any, ...]]] = {
    "average, line": (aten.avg_pool1d.default, (1, 2, 5), ([2],)),
    "average": (aten.avg_pool2d.default, (1, 2, 4, 4), ([2, 2],)),
    "average, padded": (aten.avg_pool2d.default, (1, 1, 5, 4), ([3, 2], [1, 2], [1, 1])),
    "average, ceil": (aten.avg_pool2d.default, (1, 1, 5, 4), ([2, 3], [2, 2], [1, 1], True, False)),
    "average, ceil, padding counts": (
        aten.avg_pool2d.default,
        (1, 1, 5, 4),
        ([2, 3], [2, 2], [1, 1], True, True),
    ),
    "average, divisor": (aten.avg_pool2d.default, (1, 1, 4, 4), ([2, 2], [2, 2], [0, 0], False, True, 3)),
    "average, negative divisor": (
        aten.avg_pool2d.default,
        (1, 1, 4, 4),
        ([2, 2], [2, 2], [0, 0], False, True, -3),
    ),
    "average, no batch dimension": (aten.avg_pool2d.default, (2, 4, 4), ([2, 2],)),
    "average, larger": (aten.avg_pool2d.default, (1, 2, 9, 10), ([3, 2], [2, 1], [1, 0])),
    "average, volume": (aten.avg_pool3d.default, (1, 1, 3, 2, 2), ([2, 2, 2], [1, 1, 1])),
    "adaptive, line": (aten.adaptive_avg_pool1d.default, (1, 1, 7), ([3],)),
    "adaptive, all": (aten.adaptive_avg_pool2d.default, (1, 2, 3, 4), ([1, 1],)),
    "adaptive": (aten._adaptive_avg_pool2d.default, (1, 1, 5, 4), ([2, 3],)),
    "adaptive, volume": (aten._adaptive_avg_pool3d.default, (1, 1, 2, 3, 2), ([1, 2, 1],)),
    "adaptive, whole volume": (aten.adaptive_avg_pool3d.default, (1, 1, 2, 3, 2), ([2, 1, 2],)),
    "maximum, line": (aten.max_pool1d.default, (1, 1, 5), ([2],)),
    "maximum": (aten.max_pool2d.default, (1, 2, 2, 2), ([2, 2],)),
    "maximum, overlapping": (aten.max_pool2d.default, (1, 1, 4, 3), ([2, 2], [1, 1])),
    "maximum, gaps": (aten.max_pool2d.default, (1, 1, 5, 5), ([2, 2], [3, 3])),
    "maximum, padded": (aten.max_pool2d.default, (1, 1, 3, 3), ([3, 3], [2, 2], [1, 1])),
    "maximum, ceil": (aten.max_pool2d.default, (1, 1, 5, 4), ([2, 2], [2, 2], [0, 0], [1, 1], True)),
    "maximum, dilated": (aten.max_pool2d.default, (1, 1, 4, 5), ([2, 2], [1, 2], [1, 1], [2, 3], True)),
    "maximum, no batch dimension": (aten.max_pool2d.default, (2, 2, 2), ([2, 2],)),
    "maximum, one element": (aten.max_pool2d.default, (1, 1, 2, 2), ([1, 1],)),
    "maximum, volume": (aten.max_pool3d.default, (1, 1, 2, 2, 3), ([2, 2, 2],)),
    "nearest, line": (aten.upsample_nearest1d.vec, (1, 2, 3), (None, [2.0])),
    "nearest, line, size": (aten.upsample_nearest1d.default, (1, 1, 3), ([5],)),
    "nearest": (aten.upsample_nearest2d.vec, (1, 2, 2, 3), (None, [2.0, 2.0])),
    "nearest, size": (aten.upsample_nearest2d.vec, (1, 1, 4, 3), ([3, 5], None)),
    "nearest, sizes": (aten.upsample_nearest2d.default, (1, 1, 4, 3), ([3, 5],)),
    "nearest, volume": (aten.upsample_nearest3d.vec, (1, 1, 2, 1, 2), (None, [2.0, 2.0, 1.5])),
    "nearest, volume, size": (aten.upsample_nearest3d.default, (1, 1, 2, 1, 2), ([3, 2, 3],)),
    "exact, line": (aten._upsample_nearest_exact1d.vec, (1, 1, 4), ([3], None)),
    "exact, line, size": (aten._upsample_nearest_exact1d.default, (1, 1, 4), ([7],)),
    "exact": (aten._upsample_nearest_exact2d.vec, (1, 1, 4, 3), ([3, 5], None)),
    "exact, size": (aten._upsample_nearest_exact2d.default, (1, 1, 4, 3), ([3, 5],)),
    "exact, volume": (aten._upsample_nearest_exact3d.vec, (1, 1, 2, 1, 3), ([3, 2, 2], None)),
    "exact, volume, size": (aten._upsample_nearest_exact3d.default, (1, 1, 2, 1, 3), ([3, 2, 2],)),
    "linear": (aten.upsample_linear1d.vec, (1, 1, 4), (None, False, [1.7])),
    "linear, size": (aten.upsample_linear1d.default, (1, 1, 4), ([6], True)),
    "bilinear, corners aligned": (aten.upsample_bilinear2d.vec, (1, 1, 3, 2), ([5, 3], True, None)),
    "bilinear": (aten.upsample_bilinear2d.default, (1, 1, 3, 2), ([5, 3], False)),
    "trilinear": (aten.upsample_trilinear3d.vec, (1, 1, 2, 2, 2), ([3, 2, 3], False, None)),
    "trilinear, size": (aten.upsample_trilinear3d.default, (1, 1, 2, 2, 2), ([3, 2, 3], True)),
    "bicubic": (aten.upsample_bicubic2d.vec, (1, 1, 3, 4), ([5, 3], False, None)),
    "bicubic, corners aligned": (aten.upsample_bicubic2d.vec, (1, 1, 4, 3), (None, True, [1.5, 2.0])),
    "bicubic, size": (aten.upsample_bicubic2d.default, (1, 1, 4, 3), ([5, 4], False)),
    "bilinear, antialiased": (aten._upsample_bilinear2d_aa.vec, (1, 1, 5, 4), ([2, 3], False, None)),
    "bilinear, antialiased, size": (aten._upsample_bilinear2d_aa.default, (1, 1, 5, 4), ([2, 3], False)),
    "bicubic, antialiased": (aten._upsample_bicubic2d_aa.vec, (1, 1, 5, 4), ([3, 2], False, None)),
    "bicubic, antialiased, size": (aten._upsample_bicubic2d_aa.default, (1, 1, 5, 4), ([3, 2], False)),
}

#: Operator, image and options where the first of several outputs is the image.
WITH_INDICES: dict[str, tuple[Any, Shape, tuple[Any, ...]]] = {
    "line": (aten.max_pool1d_with_indices.default, (1, 1, 5), ([2],)),
    "image": (aten.max_pool2d_with_indices.default, (1, 1, 4, 3), ([2, 2],)),
    "volume": (aten.max_pool3d_with_indices.default, (1, 1, 2, 2, 3), ([2, 2, 2],)),
    "adaptive, line": (aten.adaptive_max_pool1d.default, (1, 1, 7), ([3],)),
    "adaptive": (aten.adaptive_max_pool2d.default, (1, 1, 4, 3), ([2, 2],)),
    "adaptive, volume": (aten.adaptive_max_pool3d.default, (1, 1, 2, 3, 2), ([1, 2, 2],)),
}

#: Image, widths, mode and value of borders.
BORDERS: dict[str, tuple[Shape, list[int], str, float | None]] = {
    "zeros": ((1, 1, 3, 2), [1, 2, 0, 1], "constant", None),
    "value": ((1, 1, 3, 2), [1, 2, 0, 1], "constant", 0.7),
    "channels": ((1, 2, 2, 2), [0, 1, 0, 0, 1, 0], "constant", -2.0),
    "cropped": ((1, 1, 3, 4), [-1, 1, 0, -1], "constant", 0.5),
    "reflected": ((1, 1, 3, 3), [1, 2, 2, 1], "reflect", None),
    "reflected line": ((1, 1, 4), [2, 1], "reflect", None),
    "replicated": ((1, 1, 2, 3), [2, 1, 1, 3], "replicate", None),
    "circular": ((1, 1, 3, 3), [2, 1, 1, 3], "circular", None),
    "replicated volume": ((1, 1, 2, 2, 2), [1, 1, 0, 1, 1, 0], "replicate", None),
    "larger": ((1, 2, 6, 5), [1, 2, 0, 1], "constant", None),
}


def declare(cases: ConformanceCases) -> None:
    """Declare all of it."""
    _convolutions(cases)
    for name, (op, image, options) in IMAGES.items():
        cases.add(name, Call.of(op, X(*image), *options))
    for name, (op, image, options) in WITH_INDICES.items():
        cases.add(name, Call.of(op, X(*image), *options, output=0))
    for name, border in BORDERS.items():
        cases.add(name, Call.of(aten.pad.default, X(*border[0]), *border[1:]))
    _grids(cases)
    for name, make in PATCHES.items():
        cases.coefficients(name, PatchesCoefficients, make, shapes=((1, 2, 5, 4), (2, 3, 3)))
    _images_of_core_operators(cases)


def _convolutions(cases: ConformanceCases) -> None:
    for name, (image, weight, options) in GEOMETRIES.items():
        cases.add(name, Call.of(aten.conv2d.default, X(*image), C(*weight), C(weight[0]), **options))
    for name, (op, image, weight, options) in CONVOLUTIONS.items():
        cases.add(name, Call.of(op, X(*image), C(*weight), C(weight[0]), **options))
    for name, (op, image, weight, options) in TRANSPOSED.items():
        cases.add(name, Call.of(op, X(*image), C(*weight), None, **options))
    for transposed in (False, True):
        args = [[2, 2], [1, 1], [1, 1], transposed, [0, 0], 1]
        call = Call.of(aten.convolution.default, X(1, 2, 4, 4), C(2, 2, 2, 2), None, *args)
        cases.add("transposed" if transposed else "plain", call)
    args = [[1, 1], [1, 1], [1, 1], False, [0, 0], 1]
    cases.add("larger", Call.of(aten.convolution.default, X(1, 2, 9, 8), C(2, 2, 3, 3), None, *args))
    conv = aten.conv2d.default
    cases.add("perturbed weight and bias", Call.of(conv, C(1, 1, 3, 3), X(1, 1, 2, 2), X(1)))
    cases.add("perturbed image and weight", Call.of(conv, X(1, 1, 3, 3), X(2, 1, 2, 2), X(2)))


def _grids(cases: ConformanceCases) -> None:
    generator = torch.Generator().manual_seed(0)
    plane = torch.rand(1, 2, 3, 2, dtype=torch.float64, generator=generator) * 2.4 - 1.2
    space = torch.rand(1, 2, 1, 2, 3, dtype=torch.float64, generator=generator) * 2.4 - 1.2
    for mode, name in enumerate(("bilinear", "nearest", "bicubic")):
        for op in (aten.grid_sampler.default, aten.grid_sampler_2d.default):
            cases.add(name, Call.of(op, X(1, 1, 3, 3), plane, mode, 0, False))
    cases.add("volume", Call.of(aten.grid_sampler_3d.default, X(1, 1, 2, 2, 3), space, 0, 1, True))


def _images_of_core_operators(cases: ConformanceCases) -> None:
    """Operators of the core on images, for the kernels that this package has for patches."""
    image = X(1, 2, 5, 4)
    for op in (aten.add.Tensor, aten.sub.Tensor):
        cases.add("images", Call.of(op, image, image, alpha=3))
    for op in (aten.add.Scalar, aten.sub.Scalar, aten.rsub.Scalar):
        cases.add("image", Call.of(op, image, 0.5))
    cases.add("image", Call.of(aten.neg.default, image))
    cases.add("channels", Call.of(aten.cat.default, [X(1, 2, 4, 5), C(1, 1, 4, 5), X(1, 3, 4, 5)], 1))
    cases.add("image", Call.of(aten.constant_pad_nd.default, X(1, 2, 6, 5), [1, 2, 0, 1]))


def _windows(
    kernel: tuple[int, int], offset: tuple[int, int], stride: tuple[int, int], *, batch: int, anchors: int
) -> Callable[[Shape], Coefficients | None]:
    """Windows at random places of an image; where they overhang, they hold something else than zero."""

    def make(shape: Shape) -> Coefficients | None:
        if len(shape) < 3 or math.prod(shape[:-3]) != 1:
            return None
        size = (shape[-2], shape[-1])
        space = (size[0] // stride[0] + 1, size[1] // stride[1] + 1)
        generator = torch.Generator().manual_seed(math.prod(shape))
        anchor = torch.randint(space[0] * space[1], (3, anchors), generator=generator)
        place = Placement(anchor, space, stride, offset, kernel, size)
        values = torch.randn(6, batch, shape[-3], *kernel, dtype=torch.float64, generator=generator)
        return PatchesCoefficients(values, place, tuple(shape))

    return make


PATCHES = {
    "inside": _windows((1, 1), (0, 0), (1, 1), batch=1, anchors=1),
    "overhanging": _windows((2, 2), (-1, -1), (1, 1), batch=1, anchors=1),
    "of each example": _windows((2, 3), (-1, -2), (1, 1), batch=3, anchors=3),
    "same places": _windows((2, 2), (-1, 0), (1, 1), batch=3, anchors=1),
    "shared values": _windows((2, 2), (0, -1), (1, 1), batch=1, anchors=3),
    "strided": _windows((2, 2), (-1, 0), (2, 3), batch=3, anchors=3),
}
