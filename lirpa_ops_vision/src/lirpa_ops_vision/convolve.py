"""Convolutions whose rounding is that of sums of products, on every device.

What bounds charge for rounding is that of a sum of products in some order. Some kernels are no such sums: they
transform tiles of the image (Winograd; Lavin & Gray 2016) or all of it (FFT), so that numbers outside of an output's
window take part in its rounding. Measured with cuDNN on one H200, a number of 2⁴⁰ elsewhere in the image moved outputs that
do not see it by thousands of times their size, in half of the sizes tried; NNPACK on a CPU does likewise. Where such a
kernel may run, a convolution is a matrix product with the columns of its windows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lirpa_core.devices import sums_products

aten = torch.ops.aten

#: Elements of the columns that are made at a time.
_COLUMNS = 2**26


@dataclass(frozen=True)
class Options:
    """What `torch.convolution` takes besides the image and the weights, one number for each direction.

    Attributes:
        stride: Of the windows.
        padding: Before and after the image.
        dilation: Of the kernel.
        transposed: Whether it is the transpose of a convolution.
        output_padding: See `torch.nn.ConvTranspose2d`.
        groups: Groups of channels.
    """

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool
    output_padding: tuple[int, ...]
    groups: int

    def of_planes(self) -> Options:
        """Those of the same convolution of lines in planes of one row."""
        return Options(
            (1, *self.stride), (0, *self.padding), (1, *self.dilation), self.transposed,
            (0, *self.output_padding), self.groups,
        )  # fmt: skip


def convolve(x: Tensor, weight: Tensor, options: Options) -> Tensor:
    """`torch.convolution` without bias, as sums of products.

    Args:
        x: `[N, C, *space]`.
        weight: `[C_out, C / groups, *kernel]`, or where transposed `[C, C_out / groups, *kernel]`.
        options: The rest.

    Returns:
        `[N, C_out, *space_out]`.
    """
    if not sums_products(x.device):
        return by_products(x, weight, options)
    found: Tensor = torch.convolution(
        x, weight, None, options.stride, options.padding, options.dilation, options.transposed,
        options.output_padding, options.groups,
    )  # fmt: skip
    return found


def by_products(x: Tensor, weight: Tensor, options: Options) -> Tensor:
    """`convolve` by kernels that are known to be matrix products."""
    dims = weight.dim() - 2
    if dims == 1:
        return by_products(x.unsqueeze(2), weight.unsqueeze(2), options.of_planes()).squeeze(2)
    if dims == 3:
        return _volumes(x, weight, options)
    return _spread(x, weight, options) if options.transposed else _gathered(x, weight, options)


def _gathered(x: Tensor, weight: Tensor, options: Options) -> Tensor:
    """A convolution of planes: a matrix times the columns of the windows."""
    kernel, groups = tuple(weight.shape[2:]), options.groups
    sizes = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(
            x.shape[2:], options.padding, options.dilation, kernel, options.stride, strict=True
        )
    ]
    matrix = weight.reshape(groups, weight.shape[0] // groups, -1)  # [G, C_out / G, C / G · k²]
    parts = []
    for few in _pieces(x, math.prod(kernel) * math.prod(sizes) * x.shape[1]):
        columns = F.unfold(few, kernel, options.dilation, options.padding, options.stride)  # [N, C · k², L]
        grouped = columns.reshape(few.shape[0], groups, matrix.shape[2], -1)
        parts.append((matrix @ grouped).reshape(few.shape[0], weight.shape[0], *sizes))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _spread(x: Tensor, weight: Tensor, options: Options) -> Tensor:
    """A transposed convolution of planes: columns that are added up where they belong."""
    kernel, groups = tuple(weight.shape[2:]), options.groups
    whole = tuple([
        (n - 1) * s + d * (k - 1) + 1
        for n, s, d, k in zip(x.shape[2:], options.stride, options.dilation, kernel, strict=True)
    ])  # fmt: skip
    matrix = weight.reshape(groups, weight.shape[0] // groups, -1).mT  # [G, C_out / G · k², C / G]
    parts = []
    for few in _pieces(x, matrix.shape[0] * matrix.shape[1] * math.prod(x.shape[2:])):
        images = few.reshape(few.shape[0], groups, weight.shape[0] // groups, -1)
        columns = (matrix @ images).flatten(1, 2)  # [N, C_out · k², L]
        parts.append(F.fold(columns, whole, kernel, options.dilation, 0, options.stride))
    joined = parts[0] if len(parts) == 1 else torch.cat(parts)
    sides = zip(reversed(options.padding), reversed(options.output_padding), strict=True)
    border = [v for p, e in sides for v in (-p, e - p)]
    return torch.constant_pad_nd(joined, border) if any(border) else joined


def _pieces(x: Tensor, each: int) -> Iterator[Tensor]:
    """Images, as many at a time as have not too many columns; `each` is what one has."""
    step = max(1, _COLUMNS // max(1, each))
    for start in range(0, x.shape[0], step):
        yield x if step >= x.shape[0] else x[start : start + step]


def _volumes(x: Tensor, weight: Tensor, options: Options) -> Tensor:
    """Convolutions of volumes, by PyTorch's own kernels, group by group."""
    kernel, stride, padding = list(weight.shape[2:]), list(options.stride), list(options.padding)
    dilation, extra = list(options.dilation), list(options.output_padding)
    parts = []
    for part, w in zip(x.chunk(options.groups, 1), weight.chunk(options.groups, 0), strict=True):
        if options.transposed:
            found = aten.slow_conv_transpose3d.default(
                part, w, kernel, None, stride, padding, extra, dilation
            )
        else:
            found = aten.slow_conv_dilated3d.default(part, w, kernel, None, stride, padding, dilation)
        parts.append(found)
    return parts[0] if options.groups == 1 else torch.cat(parts, 1)
