"""Layer, group, instance and RMS norm and vectors of length one: decompositions, and the rule of the product in which they end."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from lirpa_core.linear import Affine, Interval, Relaxation
from lirpa_core.linear.operators import align
from lirpa_core.operators import diagonal, group_norm, instance_norm, layer_norm, over_last, rms_norm
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules import Bilinear, Call, Mixture, Product, Slope
from lirpa_core.rules.relaxations import shares_at, sum_of_others, weights_of
from lirpa_ops_nlp.operators import normalized, of_length

aten = torch.ops.aten
nlp = torch.ops.lirpa_nlp


def normalized_range(call: Call, inputs: tuple[Interval, ...]) -> Interval | None:
    """Bounds of `x · s`, where `s` is the inverse of a norm of `x`.

    With `Q` the sum of the other squares they are those of `xᵢ / √((xᵢ² + Q)/n + ε)`, of `xᵢ / max(√(xᵢ² + Q), ε)`, or of
    `xᵢ / (√(xᵢ² + Q) + ε)`. All three grow with `xᵢ` and, for `xᵢ > 0`, fall with `Q`: exact for independent elements,
    and within the share of one element where they sum to zero, because then `Q ≥ xᵢ²/(n − 1)`.
    """
    if "self" not in call.slots or "other" not in call.slots:
        return None
    return _range(call, inputs[call.slots["self"]])


def normalized_planes(product: Product) -> Relaxation:
    """McCormick's two planes with `s` at its least, or a constant where that is better at the centre."""
    below, above = _sides(product)
    return Relaxation(_chosen(product, below), _chosen(product, above))


def _sides(
    product: Product,
) -> tuple[list[tuple[Tensor, Tensor, Tensor]], list[tuple[Tensor, Tensor, Tensor]]]:
    """Slopes by `x` and by `s`, and constants, of the planes below and above: of the better default, of all others."""
    call, first, second = product.call, product.x, product.y
    exact = _range(call, first)
    rank = len(call.shape)
    x, rx = first.midpoint, first.radius
    s, rs = align(second.midpoint, 1, rank), align(second.radius, 1, rank)
    low, up = align(second.lower, 1, rank), align(second.upper, 1, rank)

    def side(sign: int, constant: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        end, other = (first.lower, first.upper) if sign == 1 else (first.upper, first.lower)
        better = sign * constant > sign * x * s - rx * rs
        zero = torch.zeros_like(constant)
        default = (
            torch.where(better, 0, low),
            torch.where(better, 0, end),
            torch.where(better, constant, -end * low),
        )
        return [default, (zero, zero, constant), (low, end, -end * low), (up, other, -other * up)]

    return side(1, exact.lower), side(-1, exact.upper)


def _chosen(
    product: Product, planes: list[tuple[Tensor, Tensor, Tensor]], weights: Tensor | None = None
) -> Affine:
    """The first of some planes, or their mixture with weights `[B, *S, K]`."""
    if weights is None:
        of_x, of_s, bias = planes[0]
    else:
        of_x, of_s, bias = (
            torch.stack([w * part for w, part in zip(weights.unbind(-1), parts, strict=True)]).sum(0)
            for parts in zip(*planes, strict=True)
        )
    return product.affine(product.of_left(of_x), product.of_right(of_s), bias)


def normalized_shares(product: Product) -> tuple[Slope, ...]:
    """The shares of the planes below and above each element."""
    first = torch.zeros(
        product.x.lower.shape[0], *product.call.shape, dtype=torch.int64, device=product.x.lower.device
    )
    return (shares_at(first, 4, product.x.lower.dtype),) * 2


def normalized_planes_with(product: Product, shares: Sequence[Tensor]) -> Relaxation:
    """The mixtures of all planes with given shares."""
    below, above = _sides(product)
    return Relaxation(
        _chosen(product, below, weights_of(shares[0])), _chosen(product, above, weights_of(shares[1]))
    )


def _range(call: Call, x: Interval) -> Interval:
    dims = list(range(-int(call["dims"]), 0))
    n = math.prod(call.shape[d] for d in dims)
    # In units of the largest element, lest squares overflow, or of what is added to them, lest that overflows.
    unit = x.lower.abs().maximum(x.upper.abs()).amax(dims, keepdim=True).detach()
    unit = torch.where((unit > 0) & unit.isfinite(), unit, 1).clamp(min=_LEAST[call.node.target](call))
    x = Interval(x.lower / unit, x.upper / unit)
    norm = _NORMS[call.node.target](call, unit, n)
    low, up = x.lower.square(), x.upper.square()
    most = low.maximum(up)
    least = torch.where((x.lower <= 0) & (x.upper >= 0), 0, low.minimum(up))
    most, least = (sum_of_others(q, dims) for q in (most, least))

    def at(t: Tensor, away: Tensor) -> Tensor:
        """The value at `xᵢ = t`, with the other squares large where that brings it towards zero."""
        near = least.maximum(t.square() / (n - 1)) if call["centered"] and n > 1 else least
        return t / norm(t.square() + torch.where(away, near, most))

    return Interval(at(x.lower, x.lower < 0), at(x.upper, x.upper > 0))


def _root_mean_square(call: Call, unit: Tensor, n: int) -> Callable[[Tensor], Tensor]:
    eps = float(call["eps"]) / unit / unit
    return lambda q: torch.sqrt(q / n + eps)


def _length(call: Call, unit: Tensor, n: int) -> Callable[[Tensor], Tensor]:
    eps = float(call["eps"]) / unit
    return (lambda q: torch.sqrt(q) + eps) if call["added"] else (lambda q: torch.sqrt(q).maximum(eps))


#: The length of a vector that what is added to its squares, or to its length, comes to.
_LEAST: dict[object, Callable[[Call], float]] = {
    normalized: lambda call: math.sqrt(float(call["eps"])),
    of_length: lambda call: float(call["eps"]),
}

#: What the operators divide by, as functions of a sum of squares, both in other units.
_NORMS = {normalized: _root_mean_square, of_length: _length}


def _roundings(call: Call) -> int:
    """Of a sum of squares, its root, and a division."""
    return 16 + math.prod(call.shape[-int(call["dims"]) :])


NORMALIZED = Bilinear(
    "self",
    "other",
    fixed=diagonal,
    ranges=normalized_range,
    planes=normalized_planes,
    mixture=Mixture(normalized_shares, normalized_planes_with),
    roundings=_roundings,
)


def unit_length(
    x: Tensor, dims: Sequence[int], eps: float, added: bool = False, centered: bool = False
) -> Tensor:
    """`x / max(‖x‖₂, ε)`, or `x / (‖x‖₂ + ε)`.

    Args:
        x: The vectors.
        dims: Their dimensions, negative and in ascending order.
        eps: The least length, or what is added to it.
        added: Which of the two.
        centered: Whether the vectors are known to sum to zero.
    """

    def last(y: Tensor) -> Tensor:
        squares = torch.square(y).sum(list(range(-len(dims), 0)), keepdim=True)
        if added:
            inverse = torch.reciprocal(torch.sqrt(squares) + eps)
        elif eps * eps >= torch.finfo(y.dtype).tiny:  # one curve less than of the length
            inverse = torch.rsqrt(torch.clamp(squares, min=eps * eps))
        elif eps > 0:
            inverse = torch.reciprocal(torch.clamp(torch.sqrt(squares), min=eps))
        else:
            inverse = torch.rsqrt(squares)
        out: Tensor = of_length(y, inverse, len(dims), eps, added, centered)
        return out

    return over_last(x, dims, last)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The product of two vectors of length one."""
    rank = max(x1.dim(), x2.dim())
    x1, x2 = (x.reshape(*[1] * (rank - x.dim()), *x.shape) for x in (x1, x2))
    dim = dim % rank - rank
    return (unit_length(x1, [dim], eps) * unit_length(x2, [dim], eps)).sum(dim)


def register(registry: OperatorRegistry) -> None:
    """Register this file's rules and decompositions, which replace the core's."""
    registry.register(normalized, NORMALIZED)
    registry.register(of_length, NORMALIZED)
    for op, function in (
        (aten.native_layer_norm.default, layer_norm),
        (aten.rms_norm.default, rms_norm),
        (aten.native_group_norm.default, group_norm),
        (aten._native_batch_norm_legit.no_stats, instance_norm),
    ):
        registry.decompose(op, partial(function, standardize=nlp.normalized), override=True)
    registry.decompose(aten.cosine_similarity.default, cosine_similarity)
