"""Transposed convolutions as convolutions, one for every phase of the stride."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lirpa_core.devices import is_cpu
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


def pays(images: Tensor, weight: Tensor, stride: Sequence[int], dilation: Sequence[int], groups: int) -> bool:
    """Whether `spread_in_phases` can do it, and takes less time: about half to a third on a CPU.

    It does not where the stride does not divide the kernel, so that the phases' kernels are padded, nor from large images
    to few channels.
    """
    plain = groups == 1 and len(dilation) == 2 and all(d == 1 for d in dilation)
    if not plain or not is_cpu(images) or images.shape[0] < _FEW:
        return False
    few = weight.shape[1] * math.prod(stride) < _LANES and math.prod(images.shape[2:]) > _WINDOW
    even = all(k % s == 0 for k, s in zip(weight.shape[2:], stride, strict=True))
    return not few and (even or weight.shape[1] < _LANES)


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
