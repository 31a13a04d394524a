"""Transposed convolutions on a CPU: one convolution for all phases of the stride, or whatever else takes less time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lirpa_core.devices import is_cpu, sums_products
from lirpa_core.linear.relax import unobserved

#: Elements of the largest tensor that one step makes, so that it is still in the cache when it is read again.
_CHUNK = 2**19
#: Elements of the columns that are added up at a time.
_COLUMNS = 2**17
#: Fewer images than these are not worth the laying out of the weights.
_FEW = 32
#: Channels of all phases together below which a convolution leaves most of the processor's lanes empty.
_LANES = 8
#: Pixels of an image up to which adding up columns takes longer than empty lanes.
_WINDOW = 64
#: Images from which on the matrix of a whole window is worth making.
_MANY = 256
#: How many times more products a matrix of whole windows may take, and how many more where lanes would be empty.
_DENSER, _DENSER_THAN_LANES = 2.5, 8.0
#: Pixels of an image from which on a stride is better left to oneDNN, with the channels of a pixel side by side.
_PIXELS = 9


def pays(images: Tensor, weight: Tensor, stride: Sequence[int], dilation: Sequence[int], groups: int) -> bool:
    """Whether `spread` can do it, and takes less time: about half to a third on a CPU.

    It does not where the stride does not divide the kernel, so that the phases' kernels are padded, nor from large images
    to few channels.
    """
    plain = groups == 1 and len(dilation) == 2 and all(d == 1 for d in dilation)
    if not plain or not is_cpu(images) or images.shape[0] < _FEW or not sums_products(images.device):
        return False
    few = weight.shape[1] * math.prod(stride) < _LANES and math.prod(images.shape[2:]) > _WINDOW
    even = all(k % s == 0 for k, s in zip(weight.shape[2:], stride, strict=True))
    return not few and (even or weight.shape[1] < _LANES)


def spread(
    A: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], size: Sequence[int]
) -> Tensor:
    """The transposed convolution where `pays` says so, in the way that takes least time.

    See `spread_in_phases` for the arguments.
    """
    kernel, channels = weight.shape[2:], weight.shape[1]
    whole = tuple([(n - 1) * s + k for n, s, k in zip(A.shape[2:], stride, kernel, strict=True)])
    denser = math.prod(whole) / math.prod(kernel)
    empty = channels * math.prod(stride) < _LANES
    if (
        A.shape[0] >= _MANY
        and whole == tuple(size)
        and denser <= (_DENSER_THAN_LANES if empty else _DENSER)
        and not any(padding)
    ):
        return A.flatten(1).matmul(_matrix(weight, A.shape[2:], stride, whole)).view(-1, channels, *whole)
    if channels >= _LANES and math.prod(stride) > 1 and math.prod(A.shape[2:]) >= _PIXELS:
        return spread_by_pixels(A, weight, stride, padding, size)
    return spread_in_phases(A, weight, stride, padding, size)


def _matrix(weight: Tensor, space: Sequence[int], stride: Sequence[int], whole: Sequence[int]) -> Tensor:
    """The transposed convolution of images of `space` pixels as a matrix `[C_out·h·w, C·H·W]`; most of it is zero."""
    out, channels, *kernel = weight.shape
    matrix = weight.new_zeros(out, *space, channels, *whole)
    for y, x in itertools.product(*map(range, space)):
        top, left = y * stride[0], x * stride[1]
        matrix[:, y, x, :, top : top + kernel[0], left : left + kernel[1]] = weight
    return matrix.view(out * math.prod(space), -1)


def spread_by_pixels(
    A: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], size: Sequence[int]
) -> Tensor:
    """The same by PyTorch's own operator, some images at a time, with the channels of each pixel side by side in memory.

    So oneDNN needs not lay out anything, and writes whole vectors of channels: a fifth to a half of the time less.
    """
    extra = [
        n - ((m - 1) * s + k - 2 * p)
        for n, m, s, k, p in zip(size, A.shape[2:], stride, weight.shape[2:], padding, strict=True)
    ]
    by_pixel = weight.contiguous(memory_format=torch.channels_last)
    out = A.new_empty(A.shape[0], weight.shape[1], *size)
    step = max(1, _CHUNK // max(A[0].numel(), out[0].numel()))
    for part, into in zip(A.split(step), out.split(step), strict=True):
        images = part.contiguous(memory_format=torch.channels_last)
        into.copy_(
            torch.nn.functional.conv_transpose2d(
                images, by_pixel, None, list(stride), list(padding), list(extra)
            )
        )
    return out


def spread_in_phases(
    A: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], size: Sequence[int]
) -> Tensor:
    """The transposed convolution of `[N, C_out, h, w]` with `[C_out, C, kh, kw]`: `[N, C, *size]`.

    Of the output, the pixels at `y + padding ≡ r (mod stride)` only meet the taps `r, r + stride, ..` of the kernel. So
    the pixels of one phase `r` are a convolution with these taps; all phases are one convolution with more channels
    (Shi et al. 2016, "Is the deconvolution layer the same as a convolutional layer?").

    Args:
        A: Images.
        weight: As of the convolution that this is the transpose of.
        stride: Of that convolution.
        padding: Of that convolution.
        size: Height and width of the result; what no window reaches is zero.
    """
    channels = weight.shape[1]
    kernels, taps = _phases(weight, stride)
    if all(s == 1 for s in stride) and all(p < t for p, t in zip(padding, taps, strict=True)):
        border = [t - 1 - p for p, t in zip(padding, taps, strict=True)]
        reached = [n + 2 * b - t + 1 for n, b, t in zip(A.shape[2:], border, taps, strict=True)]
        if reached == list(size):
            return torch.nn.functional.conv2d(A, kernels, padding=border)
    full = [n + t - 1 for n, t in zip(A.shape[2:], taps, strict=True)]
    every = [
        [_places(r, *each) for r in range(each[0])] for each in zip(stride, padding, size, full, strict=True)
    ]
    reached = [sum([there.stop - there.start for _, there in places]) for places in every]
    out = (
        A.new_empty(A.shape[0], channels, *size)
        if reached == list(size)
        else A.new_zeros(A.shape[0], channels, *size)
    )
    largest = max(kernels.shape[0] * full[0] * full[1], A[0].numel())
    step = max(1, _CHUNK // largest)
    for part, into in zip(A.split(step), out.split(step), strict=True):
        found = torch.nn.functional.conv2d(part, kernels, padding=[t - 1 for t in taps])
        found = found.unflatten(1, (*stride, channels))
        for (i, (to_y, from_y)), (j, (to_x, from_x)) in itertools.product(*map(enumerate, every)):
            into[:, :, to_y, to_x] = found[:, i, j, :, from_y, from_x]
    return out


def spread_by_columns(
    A: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    size: Sequence[int],
) -> Tensor:
    """The same as a product of matrices whose columns are then added up, some images at a time; for few channels.

    Args:
        A: Images `[N, C_out, h, w]`.
        weight: `[C_out, C, kh, kw]`.
        stride: Of the convolution that this is the transpose of.
        padding: Likewise.
        dilation: Likewise.
        size: Height and width of the result `[N, C, *size]`.
    """
    matrix = weight.flatten(1).T  # [C·kh·kw, C_out]

    def added(images: Tensor) -> Tensor:
        columns = matrix @ images.flatten(2)  # [N, C·kh·kw, P]
        return torch.nn.functional.fold(
            columns, tuple(size), weight.shape[2:], tuple(dilation), tuple(padding), tuple(stride)
        )

    step = max(1, _COLUMNS // max(1, matrix.shape[0] * math.prod(A.shape[2:])))
    if A.shape[0] <= step or not unobserved(A, weight):
        return added(A)
    out = A.new_empty(A.shape[0], weight.shape[1], *size)
    for part, into in zip(A.split(step), out.split(step), strict=True):
        into.copy_(added(part))
    return out


def _phases(weight: Tensor, stride: Sequence[int]) -> tuple[Tensor, list[int]]:
    """Kernels `[sh·sw·C, C_out, th, tw]` of all phases, flipped, and how many taps each has."""
    out, channels, *kernel = weight.shape
    taps = [-(-k // s) for k, s in zip(kernel, stride, strict=True)]
    border = [t * s - k for t, s, k in zip(taps, stride, kernel, strict=True)]
    whole = torch.constant_pad_nd(weight, (0, border[1], 0, border[0]))
    parts = whole.reshape(out, channels, taps[0], stride[0], taps[1], stride[1]).flip(2, 4)
    return parts.permute(3, 5, 1, 0, 2, 4).reshape(-1, out, *taps), taps


def _places(phase: int, stride: int, padding: int, size: int, full: int) -> tuple[slice, slice]:
    """Where pixels of a phase go, and where among those of the full convolution they come from."""
    first = (phase - padding) % stride
    source = (first + padding - phase) // stride
    count = max(0, min(-(-(size - first) // stride), full - source))
    return slice(first, first + stride * count, stride), slice(source, source + count)
