"""Rules of matrix products: linear layers, mm, bmm, matmul and their additive forms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lirpa_core.linear.coefficients import Coefficients, PositionwiseCoefficients, SelectedRows
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import LinearOp, MatrixOnTheRight, MatrixProduct, align
from lirpa_core.linear.shapes import broadcast_shapes
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.bilinear import Bilinear
from lirpa_core.rules.call import Call, Const
from lirpa_core.rules.relaxations.products import product_range

aten = torch.ops.aten

#: Elements of the temporary that the exact product of two interval matrices may take at once.
_CHUNK = 2**24


@dataclass(frozen=True)
class MatMul:
    """What is known of `left @ right`, with the rules of broadcasting that `torch.matmul` has.

    A vector is treated as a matrix with one row (left) or one column (right).

    Attributes:
        left: Argument name of the left factor.
        right: Argument name of the right factor.
        transposed: Whether the right factor is stored transposed, as in a linear layer.
    """

    left: str
    right: str
    transposed: bool = False

    def operator(self, call: Call, slot: int, weight: Const) -> LinearOp:
        """The product as an operator in one factor."""
        is_left, shape = call.slots.get(self.left) == slot, call.shapes[slot]
        w = weight.value
        rank = w.dim() - weight.batched
        if is_left and rank == 2 and not weight.batched:
            return MatrixOnTheRight(w.mT if self.transposed else w, shape)
        w = self._as_matrix(w, rank, not is_left)
        if weight.batched:
            w = align(w, 1, max(2, len(shape)))
        stored = self.transposed and not is_left
        return MatrixProduct(w, (shape, call.shape), is_left, weight.batched, rank == 1, stored)

    def ranges(self, call: Call, inputs: tuple[Interval, ...]) -> Interval | None:
        """The exact product of two boxes."""
        i, j = call.slots.get(self.left), call.slots.get(self.right)
        if i is None or j is None:
            return None
        x, y = inputs[i], inputs[j]
        a, b = (self._as_matrix(end, len(call.shapes[i]), is_left=True) for end in (x.lower, x.upper))
        c, d = (self._as_matrix(end, len(call.shapes[j]), is_left=False) for end in (y.lower, y.upper))
        rank = max(a.dim(), c.dim()) - 1
        product = _interval_matmul(align(a, 1, rank), align(b, 1, rank), align(c, 1, rank), align(d, 1, rank))
        shape = (product.lower.shape[0], *call.shape)
        return Interval(product.lower.reshape(shape), product.upper.reshape(shape))

    def _as_matrix(self, x: Tensor, rank: int, is_left: bool) -> Tensor:
        if rank == 1:
            x = x.unsqueeze(-2 if is_left or self.transposed else -1)
        return x.mT if self.transposed and not is_left else x


def matmul_rule(
    left: str, right: str, additive: tuple[str, ...] = (), *, transposed: bool = False, trailing: bool = False
) -> Bilinear:
    """Rule of `left @ right + additive`."""
    product = MatMul(left, right, transposed)
    return Bilinear(left, right, additive, product.operator, product.ranges, trailing=trailing)


def _interval_matmul(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Interval:
    """Exact bounds of `x @ y` for `x` in `[a, b]`, `y` in `[c, d]`: a sum of scalar products' bounds.

    The terms of the sum are taken in chunks, so that the temporary stays small.
    """
    inner = a.shape[-1]
    outer = math.prod(broadcast_shapes(a.shape[:-2], c.shape[:-2])) * a.shape[-2] * c.shape[-1]
    step = max(1, _CHUNK // max(1, outer))
    lower = upper = None
    for k in range(0, inner, step):
        left = a[..., k : k + step].unsqueeze(-1), b[..., k : k + step].unsqueeze(-1)  # [.., m, k, 1]
        right = c[..., k : k + step, :].unsqueeze(-3), d[..., k : k + step, :].unsqueeze(-3)  # [.., 1, k, n]
        terms = product_range(left, right)
        low, up = terms[0].sum(-2), terms[1].sum(-2)
        lower = low if lower is None else lower + low
        upper = up if upper is None else upper + up
    assert lower is not None and upper is not None
    return Interval(lower, upper)


def matmul_rows(op: LinearOp, A: SelectedRows) -> Coefficients:
    """Selected rows through a product with a fixed matrix on the right: its columns, without a product."""
    assert isinstance(op, MatrixOnTheRight)
    # The transpose has contiguous rows in a linear layer.
    return PositionwiseCoefficients.of_matrix(A, op.weight.mT, op.in_shape)


# ---------------------------------------------------------------------- sums of a product and a term


def _scaled(x: Tensor, by: Any) -> Tensor:
    return x if by == 1 else x * by


def _plus(term: Tensor, product: Tensor, beta: Any, alpha: Any) -> Tensor:
    # With beta = 0 PyTorch does not even read the term.
    return _scaled(product, alpha) if beta == 0 else _scaled(term, beta) + _scaled(product, alpha)


def addmm(self: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """`beta · self + alpha · mat1 @ mat2`; factors of any sign, as the parts have rules of their own."""
    return _plus(self, mat1 @ mat2, beta, alpha)


def addmv(self: Tensor, mat: Tensor, vec: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """`beta · self + alpha · mat @ vec`."""
    return _plus(self, mat @ vec, beta, alpha)


def baddbmm(self: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """`beta · self + alpha · batch1 @ batch2`."""
    return _plus(self, torch.bmm(batch1, batch2), beta, alpha)


def addbmm(self: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """`beta · self + alpha · Σ batch1 @ batch2`."""
    return _plus(self, torch.bmm(batch1, batch2).sum(0), beta, alpha)


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`input1ᵀ W input2 + bias`, the contraction with the weight first: it is linear."""
    outputs, left, right = weight.shape
    half = input1 @ weight.permute(1, 0, 2).reshape(left, outputs * right)
    whole = half.reshape(*input1.shape[:-1], outputs, right) @ input2.unsqueeze(-1)
    out = whole.squeeze(-1)
    return out if bias is None else out + bias


LINEAR = matmul_rule("input", "weight", ("bias",), transposed=True, trailing=True)
MM = matmul_rule("self", "mat2")
MATMUL = matmul_rule("self", "other")
MV = matmul_rule("self", "vec")
DOT = matmul_rule("self", "tensor")


def register(registry: OperatorRegistry) -> None:
    """Register this file's rules, kernels and decompositions."""
    for op, rule in (
        (aten.linear.default, LINEAR),
        (aten.mm.default, MM),
        (aten.bmm.default, MM),
        (aten.matmul.default, MATMUL),
        (aten.mv.default, MV),
        (aten.dot.default, DOT),
    ):
        registry.register(op, rule)
    registry.kernel(MatrixOnTheRight, SelectedRows, matmul_rows)
    registry.decompose(aten.addmm.default, addmm)
    registry.decompose(aten.addmv.default, addmv)
    registry.decompose(aten.baddbmm.default, baddbmm)
    registry.decompose(aten.addbmm.default, addbmm)
    registry.decompose(aten.bilinear.default, bilinear)
