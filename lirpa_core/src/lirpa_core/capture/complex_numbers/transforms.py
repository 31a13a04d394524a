"""Fourier transforms as products with matrices of sines and cosines.

The numbers in these matrices are within three units of roundoff of the sines and cosines, relatively, and exact where these are 0,
1 or −1. Of a product that is among the roundings that every operator is charged beside its sums (`problem/rounding.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lirpa_core.capture.complex_numbers.arithmetic import Function
from lirpa_core.capture.complex_numbers.pair import Pair, pair

aten = torch.ops.aten


def _waves(rows: int, columns: int, n: int, like: Tensor) -> Pair:
    """`exp(−2πi jk / n)` for `j < rows` and `k < columns`, `[rows, columns]`; what is 0, 1 or −1 is exactly that."""
    j = torch.arange(rows, device=like.device).unsqueeze(1)
    k = torch.arange(columns, device=like.device).unsqueeze(0)
    quarters = 4 * (j * k % n)  # of a turn, n times as many
    quadrant, rest = quarters // n, quarters % n
    # From the nearer axis, so that neither a sine of π nor a cosine of π/2 is left of rounding.
    near = 2 * rest <= n
    angle = torch.where(near, rest, n - rest).to(torch.float64) * (math.pi / 2 / n)
    cos = torch.where(near, torch.cos(angle), torch.sin(angle))
    sin = torch.where(near, torch.sin(angle), torch.cos(angle))
    real = torch.where(
        quadrant == 0, cos, torch.where(quadrant == 1, -sin, torch.where(quadrant == 2, -cos, sin))
    )
    imag = torch.where(
        quadrant == 0, sin, torch.where(quadrant == 1, cos, torch.where(quadrant == 2, -sin, -cos))
    )
    return Pair(real.to(like.dtype), (-imag).to(like.dtype))


def _along(x: Tensor, matrix: Tensor, dim: int) -> Tensor:
    """A product with a matrix `[size, m]` along a dimension."""
    return (x.movedim(dim, -1) @ matrix).movedim(-1, dim)


def _transformed(x: Pair, dim: int, *, forward: bool) -> Pair:
    n = x.real.shape[dim]
    waves = _waves(n, n, n, x.real)
    imag = waves.imag if forward else -waves.imag
    real = _along(x.real, waves.real, dim) - _along(x.imag, imag, dim)
    return Pair(real, _along(x.real, imag, dim) + _along(x.imag, waves.real, dim))


def _normalized(x: Any, normalization: int, sizes: Sequence[int]) -> Any:
    """PyTorch's codes: 0 is none, 1 by the root of the number of elements, 2 by that number."""
    n = math.prod(sizes)
    divisor = (1.0, math.sqrt(n), float(n))[normalization]
    if divisor == 1.0:
        return x
    return Pair(x.real / divisor, x.imag / divisor) if isinstance(x, Pair) else x / divisor


def complex_to_complex(self: Any, dim: Sequence[int], normalization: int, forward: bool) -> Pair:
    """A transform along some dimensions."""
    x = pair(self)
    for d in dim:
        x = _transformed(x, d, forward=forward)
    found: Pair = _normalized(x, normalization, [x.real.shape[d] for d in dim])
    return found


def real_to_complex(self: Tensor, dim: Sequence[int], normalization: int, onesided: bool) -> Pair:
    """The transform of a real tensor; along the last of the dimensions half of it says all."""
    *others, last = dim
    n = self.shape[last]
    waves = _waves(n, n // 2 + 1 if onesided else n, n, self)
    x = Pair(_along(self, waves.real, last), _along(self, waves.imag, last))
    for d in others:
        x = _transformed(x, d, forward=True)
    found: Pair = _normalized(x, normalization, [self.shape[d] for d in dim])
    return found


def complex_to_real(self: Any, dim: Sequence[int], normalization: int, last_dim_size: int) -> Tensor:
    """The inverse of `real_to_complex` with one side, whose other side is the conjugate of this one."""
    *others, last = dim
    x, n = pair(self), last_dim_size
    for d in others:
        x = _transformed(x, d, forward=False)
    half = n // 2 + 1
    waves = _waves(half, n, n, x.real)
    k = torch.arange(half, device=x.real.device)
    once = (k == 0) | (2 * k == n)  # these have no other side
    weight = torch.where(once, 1.0, 2.0).to(x.real.dtype).unsqueeze(1)
    found = _along(x.real, weight * waves.real, last) + _along(x.imag, weight * waves.imag, last)
    real: Tensor = _normalized(found, normalization, [*(x.real.shape[d] for d in others), n])
    return real


#: By operator.
TRANSFORMS: Mapping[Any, Function] = {
    aten._fft_c2c.default: complex_to_complex,
    aten._fft_r2c.default: real_to_complex,
    aten._fft_c2r.default: complex_to_real,
}
