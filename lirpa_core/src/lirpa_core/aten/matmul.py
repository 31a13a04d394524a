"""Rules of matrix products: linear layers, mm, bmm, matmul and their additive forms."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_core.bounds.interval import Interval
from lirpa_core.bounds.linear_map import DenseMap, LinearMap, RowsMap
from lirpa_core.bounds.linear_op import LinearOp, align, sum_to
from lirpa_core.registry import OperatorRegistry
from lirpa_core.rules.bilinear import Bilinear, WeightedOp
from lirpa_core.rules.call import Call, Const

aten = torch.ops.aten

#: Elements of the temporary that the exact product of two interval matrices may take at once.
_CHUNK = 2**24


@dataclass(frozen=True)
class MatMul:
    """Native code of `left @ right` for operands of rank two and more.

    Attributes:
        left: Argument name of the left factor.
        right: Argument name of the right factor.
        transposed: Whether the right factor is stored transposed, as in a linear layer.
    """

    left: str
    right: str
    transposed: bool = False

    def apply(self, call: Call, slot: int, weight: Const, x: Tensor, lead: int) -> Tensor | None:
        if not self._matrices(call, slot, weight):
            return None
        w = self._aligned(call, slot, weight)
        if call.slot(self.left) == slot:
            return x @ self._stored(w)
        return w @ self._stored(x)

    def transpose(self, call: Call, slot: int, weight: Const, A: Tensor) -> Tensor | None:
        if not self._matrices(call, slot, weight):
            return None
        w = self._aligned(call, slot, weight)
        if call.slot(self.left) == slot:
            out = A @ self._stored(w).mT
        else:
            out = self._stored(w.mT @ A)
        return sum_to(out, call.shapes[slot], lead=2)

    def interval(self, call: Call, x: Interval, y: Interval) -> Interval | None:
        i, j = call.slot(self.left), call.slot(self.right)
        assert i is not None and j is not None
        if min(len(call.shapes[i]), len(call.shapes[j])) < 2:
            return None
        rank = max(len(call.shapes[i]), len(call.shapes[j]))
        a, b = align(x.lower, 1, rank), align(x.upper, 1, rank)
        c, d = self._stored(align(y.lower, 1, rank)), self._stored(align(y.upper, 1, rank))
        return _interval_matmul(a, b, c, d)

    def _stored(self, w: Tensor) -> Tensor:
        return w.mT if self.transposed else w

    def _matrices(self, call: Call, slot: int, weight: Const) -> bool:
        """Whether both factors have rank two or more, so that broadcasting of `@` applies."""
        rank = weight.value.dim() - weight.batched
        return rank >= 2 and len(call.shapes[slot]) >= 2

    def _aligned(self, call: Call, slot: int, weight: Const) -> Tensor:
        """The weight with singleton dimensions behind the batch, so that it broadcasts against x."""
        return align(weight.value, 1, len(call.shapes[slot])) if weight.batched else weight.value


def _interval_matmul(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Interval:
    """Exact bounds of `x @ y` for `x` in `[a, b]`, `y` in `[c, d]`: a sum of scalar products' bounds.

    The terms of the sum are taken in chunks, so that the temporary stays small.
    """
    inner = a.shape[-1]
    outer = math.prod(torch.broadcast_shapes(a.shape[:-2], c.shape[:-2])) * a.shape[-2] * c.shape[-1]
    step = max(1, _CHUNK // max(1, outer))
    lower = upper = None
    for k in range(0, inner, step):
        left = [t[..., k : k + step].unsqueeze(-1) for t in (a, b)]  # [.., m, k, 1]
        right = [t[..., k : k + step, :].unsqueeze(-3) for t in (c, d)]  # [.., 1, k, n]
        corners = [p * q for p in left for q in right]
        low = corners[0].minimum(corners[1]).minimum(corners[2].minimum(corners[3])).sum(-2)
        up = corners[0].maximum(corners[1]).maximum(corners[2].maximum(corners[3])).sum(-2)
        lower = low if lower is None else lower + low
        upper = up if upper is None else upper + up
    assert lower is not None and upper is not None
    return Interval(lower, upper)


def linear_rows(op: LinearOp, A: RowsMap) -> LinearMap | None:
    """Selected rows through a linear layer: rows of the weight, without a product."""
    assert isinstance(op, WeightedOp)
    if op.name != op.rule.left or op.weight.batched or op.weight.value.dim() != 2:
        return None
    W = op.weight.value  # [out, in]
    tokens = math.prod(op.in_shape[:-1])
    picked = W[A.index % W.shape[0]] * A.scale_.unsqueeze(-1)  # [R, B, in]
    if tokens == 1:
        return DenseMap(picked.reshape(*picked.shape[:2], *op.in_shape))
    token = (A.index // W.shape[0]).expand(picked.shape[:2])
    out = picked.new_zeros(*picked.shape[:2], tokens, W.shape[1])
    place = token[..., None, None].expand(*token.shape, 1, W.shape[1])
    return DenseMap(out.scatter(2, place, picked.unsqueeze(2)).reshape(*picked.shape[:2], *op.in_shape))


LINEAR = Bilinear("input", "weight", ("bias",), native=MatMul("input", "weight", transposed=True))
MM = Bilinear("self", "mat2", native=MatMul("self", "mat2"))
MATMUL = Bilinear("self", "other", native=MatMul("self", "other"))
ADDMM = Bilinear("mat1", "mat2", ("self",))
BADDBMM = Bilinear("batch1", "batch2", ("self",))
MV = Bilinear("self", "vec")
DOT = Bilinear("self", "tensor")


def register(registry: OperatorRegistry) -> None:
    """Register this file's rules and kernels."""
    registry.register(aten.linear.default, LINEAR)
    registry.kernel(aten.linear.default, RowsMap, linear_rows)
    registry.register(aten.mm.default, MM)
    registry.register(aten.bmm.default, MM)
    registry.register(aten.matmul.default, MATMUL)
    registry.register(aten.addmm.default, ADDMM)
    registry.register(aten.baddbmm.default, BADDBMM)
    registry.register(aten.mv.default, MV)
    registry.register(aten.dot.default, DOT)
