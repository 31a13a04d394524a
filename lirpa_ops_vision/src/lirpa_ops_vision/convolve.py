"""Convolutions whose rounding is that of sums of products, on every device.

What bounds charge for rounding is that of a sum of products in some order. cuDNN has kernels that are no such sums: they
transform tiles of the image (Winograd; Lavin & Gray 2016) or all of it (FFT), so that numbers outside of an output's
window take part in its rounding. Measured on one H200, a number of 2⁴⁰ elsewhere in the image moved outputs that do not see
it by thousands of times their size, in half of the sizes tried, and no switch of PyTorch says which kernel runs. On CUDA a
convolution is therefore a matrix product with the columns of its windows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lirpa_core.devices import is_cuda

aten = torch.ops.aten

#: Elements of the columns that are made at a time.
_COLUMNS = 2**26


def convolve(
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor:
    """`torch.convolution` without bias, as sums of products.

    Args:
        x: `[N, C, *space]`.
        weight: `[C_out, C / groups, *kernel]`, or where transposed `[C, C_out / groups, *kernel]`.
        stride: Of the windows.
        padding: Before and after the image.
        dilation: Of the kernel.
        transposed: Whether it is the transpose of a convolution.
        output_padding: See `torch.nn.ConvTranspose2d`.
        groups: Groups of channels.

    Returns:
        `[N, C_out, *space_out]`.
    """
    if not is_cuda(x.device):
        found: Tensor = torch.convolution(
            x, weight, None, stride, padding, dilation, transposed, output_padding, groups
        )
        return found
    return by_products(x, weight, stride, padding, dilation, transposed, output_padding, groups)


def by_products(
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor:
    """`convolve` by kernels that are known to be matrix products; the arguments are the same."""
    dims = weight.dim() - 2
    if dims == 1:
        found = by_products(
            x.unsqueeze(2), weight.unsqueeze(2), (1, *stride), (0, *padding), (1, *dilation), transposed,
            (0, *output_padding), groups,
        )  # fmt: skip
        return found.squeeze(2)
    kernel = tuple(weight.shape[2:])
    if dims == 3:
        return _volumes(x, weight, stride, padding, dilation, transposed, output_padding, groups)
    if not transposed:
        columns = _Windows(kernel, stride, padding, dilation)
        sizes = columns.counts(x.shape[2:])
        matrix = weight.reshape(groups, weight.shape[0] // groups, -1)  # [G, C_out / G, C / G · k²]
        parts = []
        for few in _pieces(x, math.prod(kernel) * math.prod(sizes) * x.shape[1]):
            unfolded = columns.of(few).reshape(few.shape[0], groups, matrix.shape[2], -1)
            parts.append((matrix @ unfolded).reshape(few.shape[0], weight.shape[0], *sizes))
        return parts[0] if len(parts) == 1 else torch.cat(parts)
    whole = tuple([
        (n - 1) * s + d * (k - 1) + 1
        for n, s, d, k in zip(x.shape[2:], stride, dilation, kernel, strict=True)
    ])  # fmt: skip
    matrix = weight.reshape(groups, weight.shape[0] // groups, -1).mT  # [G, C_out / G · k², C / G]
    parts = []
    for few in _pieces(x, matrix.shape[0] * matrix.shape[1] * math.prod(x.shape[2:])):
        images = few.reshape(few.shape[0], groups, weight.shape[0] // groups, -1)
        spread = (matrix @ images).flatten(1, 2)  # [N, C_out · k², L]
        parts.append(F.fold(spread, whole, kernel, tuple(dilation), 0, tuple(stride)))
    joined = parts[0] if len(parts) == 1 else torch.cat(parts)
    border = [
        v for p, e in zip(reversed(padding), reversed(output_padding), strict=True) for v in (-p, e - p)
    ]
    return torch.constant_pad_nd(joined, border) if any(border) else joined


class _Windows:
    """The windows of a convolution of planes."""

    def __init__(
        self, kernel: tuple[int, ...], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
    ) -> None:
        self.kernel, self.stride = kernel, tuple(stride)
        self.padding, self.dilation = tuple(padding), tuple(dilation)

    def counts(self, space: Sequence[int]) -> list[int]:
        """How many windows there are in each direction."""
        return [
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, p, d, k, s in zip(
                space, self.padding, self.dilation, self.kernel, self.stride, strict=True
            )
        ]

    def of(self, x: Tensor) -> Tensor:
        """`[N, C · k², L]`."""
        return F.unfold(x, self.kernel, self.dilation, self.padding, self.stride)


def _pieces(x: Tensor, each: int) -> Iterator[Tensor]:
    """Images, as many at a time as have not too many columns; `each` is what one has."""
    step = max(1, _COLUMNS // max(1, each))
    for start in range(0, x.shape[0], step):
        yield x if step >= x.shape[0] else x[start : start + step]


def _volumes(
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor:
    """Convolutions of volumes, by PyTorch's own kernels, group by group."""
    kernel = list(weight.shape[2:])
    parts = []
    for part, w in zip(x.chunk(groups, 1), weight.chunk(groups, 0), strict=True):
        if transposed:
            found = aten.slow_conv_transpose3d.default(
                part, w, kernel, None, list(stride), list(padding), list(output_padding), list(dilation)
            )
        else:
            found = aten.slow_conv_dilated3d.default(
                part, w, kernel, None, list(stride), list(padding), list(dilation)
            )
        parts.append(found)
    return parts[0] if groups == 1 else torch.cat(parts, 1)
