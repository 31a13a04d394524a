"""Layer norm and RMS norm: decompositions, and the rule of the product in which they end."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from lirpa_core.linear import Affine, Interval, Relaxation
from lirpa_core.linear.operators import align
from lirpa_core.operators import diagonal, layer_norm, rms_norm
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules import Bilinear, Call, Product
from lirpa_ops_nlp.operators import normalized

aten = torch.ops.aten
nlp = torch.ops.lirpa_nlp


def normalized_range(call: Call, inputs: tuple[Interval, ...]) -> Interval | None:
    """Bounds of `x · s` with `s = 1/√(mean of x² + ε)`.

    They are those of `xᵢ / √((xᵢ² + Q)/n + ε)`, which grows with `xᵢ` and, for `xᵢ > 0`, falls with the sum `Q`
    of the other squares: exact for independent elements, and within `√(n − 1)` where they sum to zero,
    because then `Q ≥ xᵢ²/(n − 1)`.
    """
    if "self" not in call.slots or "other" not in call.slots:
        return None
    return _range(call, inputs[call.slots["self"]])


def normalized_planes(product: Product) -> Relaxation:
    """McCormick's two planes with `s` at its least, or a constant where that is better at the centre."""
    call, first, second = product.call, product.x, product.y
    exact = _range(call, first)
    rank = len(call.shape)
    x, rx = first.midpoint, first.radius
    s, rs = align(second.midpoint, 1, rank), align(second.radius, 1, rank)
    low = align(second.lower, 1, rank)

    def side(sign: int, constant: Tensor) -> Affine:
        end = first.lower if sign == 1 else first.upper
        better = sign * constant > sign * x * s - rx * rs
        return product.affine(
            product.of_left(torch.where(better, 0, low)),
            product.of_right(torch.where(better, 0, end)),
            torch.where(better, constant, -end * low),
        )

    return Relaxation(side(1, exact.lower), side(-1, exact.upper))


def _range(call: Call, x: Interval) -> Interval:
    dims = list(range(-int(call["dims"]), 0))
    n = math.prod(call.shape[d] for d in dims)
    eps: Tensor | float = float(call["eps"])
    # In units of the largest element, lest squares overflow.
    unit = x.lower.abs().maximum(x.upper.abs()).amax(dims, keepdim=True).detach()
    unit = torch.where((unit > 0) & unit.isfinite(), unit, 1)
    x, eps = Interval(x.lower / unit, x.upper / unit), eps / unit / unit
    low, up = x.lower.square(), x.upper.square()
    most = low.maximum(up)
    least = torch.where((x.lower <= 0) & (x.upper >= 0), 0, low.minimum(up))
    most, least = ((q.sum(dims, keepdim=True) - q).clamp(min=0) for q in (most, least))

    def at(t: Tensor, away: Tensor) -> Tensor:
        """The value at `xᵢ = t`, with the other squares large where that brings it towards zero."""
        near = least.maximum(t.square() / (n - 1)) if call["centered"] and n > 1 else least
        return t * torch.rsqrt((t.square() + torch.where(away, near, most)) / n + eps)

    return Interval(at(x.lower, x.lower < 0), at(x.upper, x.upper > 0))


NORMALIZED = Bilinear("self", "other", fixed=diagonal, ranges=normalized_range, planes=normalized_planes)


def register(registry: OperatorRegistry) -> None:
    """Register this file's rule and decompositions, which replace the core's."""
    registry.register(normalized, NORMALIZED)
    for op, function in ((aten.native_layer_norm.default, layer_norm), (aten.rms_norm.default, rms_norm)):
        registry.decompose(op, partial(function, standardize=nlp.normalized), override=True)
