"""Bounds of the operator norms of a matrix of which every element is bounded.

Sums are rounded outward: a computed sum of `n` products of numbers that are not negative is off by a relative `γ_n`
(Higham 2002, sec. 3.1).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lirpa_core.errors import OptionError
from lirpa_core.linear.rounding import gamma, tiny

NORMS = (1, 2, math.inf)


def upper_norm(lower: Tensor, upper: Tensor, norm: float) -> Tensor:
    """A number that no matrix between two has a larger operator norm than, `[B]`.

    The norm is that of the map between spaces with this norm: 1 the largest sum of a column's absolute values, infinity the
    largest of a row, 2 the largest singular value. For 2 it is the least of four bounds: with `M` the largest absolute values,
    the Frobenius norm of `M`, `√(‖M‖₁ ‖M‖∞)`, the spectral norm of `M` (Perron and Frobenius: `|J| ≤ M` elementwise
    gives `‖J‖₂ ≤ ‖M‖₂`), and the spectral norm of the middle plus that of the radius.

    Args:
        lower: Smallest elements `[B, O, I]`.
        upper: Largest elements `[B, O, I]`.
        norm: 1, 2 or infinity.

    Raises:
        OptionError: For another norm.
    """
    largest = lower.abs().maximum(upper.abs())
    if norm == 1:
        return _sum_up(largest, 1).amax(1)
    if norm == math.inf:
        return _sum_up(largest, 2).amax(1)
    if norm != 2:
        raise OptionError(f"norm={norm!r}: expected 1, 2 or math.inf.")
    middle = lower / 2 + upper / 2
    radius = (upper - middle).maximum(middle - lower)
    radius = radius * (1 + 4 * torch.finfo(radius.dtype).eps) + tiny(radius.dtype)
    rows, columns = _sum_up(largest, 2).amax(1), _sum_up(largest, 1).amax(1)
    found = (_root_up(rows) * _root_up(columns)) * _more(largest, 4)
    found = found.minimum(_frobenius_up(largest)).minimum(_perron_up(largest))
    return found.minimum((_spectral_up(middle) + _perron_up(radius)) * _more(largest, 4))


def lower_norm(lower: Tensor, upper: Tensor, norm: float) -> Tensor:
    """A number that no matrix between two has a smaller operator norm than, `[B]`; arguments as in `upper_norm`.

    Raises:
        OptionError: For another norm.
    """
    least = lower.clamp(min=0).maximum((-upper).clamp(min=0))
    if norm == 1:
        return (least.sum(1) / _more(least, least.shape[1])).amax(1)
    if norm == math.inf:
        return (least.sum(2) / _more(least, least.shape[2])).amax(1)
    if norm != 2:
        raise OptionError(f"norm={norm!r}: expected 1, 2 or math.inf.")
    lines = [torch.linalg.vector_norm(least, dim=d).amax(1) for d in (1, 2)]
    found: Tensor = lines[0].maximum(lines[1]) / _more(least, 4 + max(least.shape[1:]))
    underflow = math.sqrt(least[0].numel()) * math.sqrt(tiny(least.dtype))
    return (found - underflow).clamp(min=0)


def _more(x: Tensor, terms: int) -> float:
    """What makes a computed sum of so many terms an upper bound of the exact one."""
    return 1 + 2 * gamma(terms + 2, x.dtype)


def _sum_up(x: Tensor, dim: int) -> Tensor:
    return x.sum(dim) * _more(x, x.shape[dim])


def _root_up(x: Tensor) -> Tensor:
    """An upper bound of the square root, whose gradient is finite at zero."""
    return torch.where(x > 0, torch.where(x > 0, x, 1.0).sqrt() * _more(x, 2), 0.0)


def _frobenius_up(x: Tensor) -> Tensor:
    flat = x.flatten(1)
    squares = flat.square().sum(1) * _more(x, flat.shape[1]) + flat.shape[1] * tiny(x.dtype)
    return _root_up(squares)


def _perron_up(x: Tensor) -> Tensor:
    """An upper bound of the spectral norm of a matrix without negative elements.

    For any vector `v > 0` the largest eigenvalue of `MᵀM` is at most the largest `(MᵀM v)ᵢ / vᵢ` (Collatz 1942, Wielandt 1950).
    The vector only has to be positive: it is the one that some steps of the power iteration give.
    """
    with torch.no_grad():
        scale = x.detach().amax((1, 2), keepdim=True)
        unit = x.detach() / torch.where(scale > 0, scale, 1.0)
        v = torch.ones_like(unit[:, 0])  # [B, I]
        for _ in range(_STEPS):
            v = torch.einsum("boi,bo->bi", unit, torch.einsum("boi,bi->bo", unit, v))
            v = v / v.amax(1, keepdim=True).clamp(min=tiny(x.dtype)) + _POSITIVE
    forth = torch.einsum("boi,bi->bo", x, v) * _more(x, x.shape[2]) + x.shape[2] * tiny(x.dtype)
    back = torch.einsum("boi,bo->bi", x, forth) * _more(x, x.shape[1]) + x.shape[1] * tiny(x.dtype)
    return _root_up((back / v).amax(1) * _more(x, 2))


def _spectral_up(x: Tensor) -> Tensor:
    """An upper bound of the spectral norm of any matrix; infinite where none is found.

    A guess `s`, a little above the computed norm, is proved: `s² − XᵀX` has no negative eigenvalue beyond `γ` times its trace
    if its Cholesky factor can be computed (Higham 2002, theorem 10.3; Rump 2006, *Verification of positive definiteness*).
    """
    nothing = (x == 0).all(2).all(1)
    norm = torch.linalg.matrix_norm(torch.where(nothing[:, None, None], 1.0, x), 2)  # no gradient at zero
    with torch.no_grad():
        wide = x.detach().double()
        wide = wide if wide.shape[1] >= wide.shape[2] else wide.transpose(1, 2)
        n, m = wide.shape[2], wide.shape[1]
        guess = norm.detach().double() * _ABOVE
        gram = wide.transpose(1, 2) @ wide
        eye = torch.eye(n, dtype=wide.dtype, device=wide.device)
        _, failed = torch.linalg.cholesky_ex(guess.square()[:, None, None] * eye - gram)
        lost = gamma(2 * n + m + 8, wide.dtype) * 2 * (n * guess.square() + wide.square().sum((1, 2)))
        proved = (guess.square() + 2 * lost + n * tiny(wide.dtype)).sqrt() * (1 + 1e-12)
        factor = proved / norm.double()
        known = (failed == 0) & ~nothing & factor.isfinite()
    found = norm * (factor.to(x.dtype) * _more(x, 4))
    return torch.where(known, found, torch.where(nothing, 0.0, math.inf))


_STEPS = 30
#: What keeps the vector of the power iteration positive.
_POSITIVE = 1e-9
#: How far above the computed norm the guess is.
_ABOVE = 1 + 1e-6
