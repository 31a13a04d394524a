"""Rules of matrix products: linear layers, mm, bmm, matmul and their additive forms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lirpa_core.linear.coefficients import Coefficients, PositionwiseCoefficients, SelectedRows
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import LinearOp, align, sum_to
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.bilinear import Bilinear, WeightedOp
from lirpa_core.rules.call import Call, Const
from lirpa_core.rules.relaxations.products import product_range

aten = torch.ops.aten

#: Elements of the temporary that the exact product of two interval matrices may take at once.
_CHUNK = 2**24
#: Elements of a block of a large matrix, which stays in the cache while it is used twice.
_BLOCK = 2**18


@dataclass(frozen=True)
class MatMul:
    """Native code of `left @ right`, with the rules of broadcasting that `torch.matmul` has.

    A vector is treated as a matrix with one row (left) or one column (right).

    Attributes:
        left: Argument name of the left factor.
        right: Argument name of the right factor.
        transposed: Whether the right factor is stored transposed, as in a linear layer.
    """

    left: str
    right: str
    transposed: bool = False

    def apply(self, call: Call, slot: int, weight: Const, x: Tensor, lead: int) -> Tensor | None:
        is_left = call.slot(self.left) == slot
        x, w = self._matrices(call, slot, weight, x, lead)
        out = times(x, w, lead - 1) if is_left else times_from_left(w, x, lead - 1)
        return out.reshape(*out.shape[:lead], *call.shape)

    def midpoint_radius(
        self, call: Call, slot: int, weight: Const, center: Tensor, radius: Tensor
    ) -> tuple[Tensor, Tensor] | None:
        """Both products block by block of a large matrix, so that the block is read from memory once.

        With few examples reading the matrix is what takes the time, and writing its absolute values takes
        longer still. While gradients are recorded there is nothing to gain.
        """
        w = weight.value
        large = w.dim() == 2 and w.numel() > 2 * _BLOCK and w.device.type == "cpu"
        if not large or weight.batched or call.slot(self.left) != slot or torch.is_grad_enabled():
            return None
        inner = 1 if self.transposed else 0  # of the matrix as it is stored
        step = max(1, _BLOCK // w.shape[1 - inner])
        blocks = (self._stored(block) for block in w.split(step, inner))
        middle = spread = center.new_zeros(())
        for block, c, r in zip(blocks, center.split(step, -1), radius.split(step, -1), strict=True):
            middle, spread = middle + c @ block, spread + r @ block.abs()
        return middle, spread

    def transpose(self, call: Call, slot: int, weight: Const, A: Tensor) -> Tensor | None:
        is_left = call.slot(self.left) == slot
        shape = call.shapes[slot]
        dims = (len(shape), _rank(weight)) if is_left else (_rank(weight), len(shape))
        if dims[1] == 1:
            A = A.unsqueeze(-1)
        if dims[0] == 1:
            A = A.unsqueeze(-2)
        w = self._weight(call, slot, weight)
        out = times(A, w.mT, 1) if is_left else self._stored(times_from_left(w.mT, A, 1))
        if len(shape) == 1:
            return out.flatten(2).unflatten(-1, (-1, shape[0])).sum(2) if out.dim() > 4 else out.flatten(2)
        return sum_to(out, shape, lead=2)

    def interval(self, call: Call, x: Interval, y: Interval) -> Interval | None:
        i, j = call.slot(self.left), call.slot(self.right)
        assert i is not None and j is not None
        a, b = (self._as_matrix(end, 1, len(call.shapes[i]), is_left=True) for end in (x.lower, x.upper))
        c, d = (self._as_matrix(end, 1, len(call.shapes[j]), is_left=False) for end in (y.lower, y.upper))
        rank = max(a.dim(), c.dim()) - 1
        product = _interval_matmul(align(a, 1, rank), align(b, 1, rank), align(c, 1, rank), align(d, 1, rank))
        shape = (product.lower.shape[0], *call.shape)
        return Interval(product.lower.reshape(shape), product.upper.reshape(shape))

    def weight(self, call: Call, slot: int, weight: Const) -> Tensor:
        """The fixed factor as a matrix, transposed where it is stored so: `[(B,) .., k, n]`."""
        return self._weight(call, slot, weight)

    def _matrices(self, call: Call, slot: int, weight: Const, x: Tensor, lead: int) -> tuple[Tensor, Tensor]:
        is_left = call.slot(self.left) == slot
        x = self._as_matrix(x, lead, len(call.shapes[slot]), is_left)
        w = self._weight(call, slot, weight)
        return align(x, lead, w.dim() - weight.batched), w

    def _weight(self, call: Call, slot: int, weight: Const) -> Tensor:
        """The fixed factor as a matrix; where it has a batch, of the rank that broadcasting needs."""
        is_left = call.slot(self.left) == slot
        w = self._as_matrix(weight.value, int(weight.batched), _rank(weight), not is_left)
        return align(w, 1, max(2, len(call.shapes[slot]))) if weight.batched else w

    def _as_matrix(self, x: Tensor, lead: int, rank: int, is_left: bool) -> Tensor:
        if rank == 1:
            x = x.unsqueeze(-2 if is_left or self.transposed else -1)
        return x if is_left else self._stored(x)

    def _stored(self, w: Tensor) -> Tensor:
        return w.mT if self.transposed else w


def _rank(weight: Const) -> int:
    return weight.value.dim() - weight.batched


def times(x: Tensor, w: Tensor, extra: int) -> Tensor:
    """`x @ w`, without a copy of `w` for each of the leading dimensions that only `x` has.

    Args:
        x: `[*E, .., m, k]`.
        w: `[.., k, n]`, its leading dimensions broadcastable to those of `x` behind `E`.
        extra: Number of dimensions `E`.
    """
    if w.dim() == 2 or extra == 0:
        return x @ w
    out = torch.einsum("r...mk,...kn->r...mn", x.flatten(0, extra - 1), w)
    return out.reshape(*x.shape[:extra], *out.shape[1:])


def times_from_left(w: Tensor, x: Tensor, extra: int) -> Tensor:
    """`w @ x` for `w` `[.., m, k]` and `x` `[*E, .., k, n]`, like `times`."""
    if w.dim() == 2 or extra == 0:
        return w @ x
    out = torch.einsum("...mk,r...kn->r...mn", w, x.flatten(0, extra - 1))
    return out.reshape(*x.shape[:extra], *out.shape[1:])


def _interval_matmul(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Interval:
    """Exact bounds of `x @ y` for `x` in `[a, b]`, `y` in `[c, d]`: a sum of scalar products' bounds.

    The terms of the sum are taken in chunks, so that the temporary stays small.
    """
    inner = a.shape[-1]
    outer = math.prod(torch.broadcast_shapes(a.shape[:-2], c.shape[:-2])) * a.shape[-2] * c.shape[-1]
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


def matrix_on_the_right(op: LinearOp) -> Tensor | None:
    """The matrix `[n, k]` of an operator that maps vectors `[*, k]` to `[*, n]`; None for any other."""
    if not isinstance(op, WeightedOp):  # an additive operand
        return None
    native = op.rule.native
    if (
        not isinstance(native, MatMul)
        or op.name != op.rule.left
        or op.weight.batched
        or _rank(op.weight) != 2
    ):
        return None
    return native.weight(op.call, op.slot, op.weight).mT  # contiguous rows in a linear layer


def matmul_rows(op: LinearOp, A: SelectedRows) -> Coefficients | None:
    """Selected rows through a product with a fixed matrix on the right: its columns, without a product."""
    matrix = matrix_on_the_right(op)
    return None if matrix is None else PositionwiseCoefficients.of_matrix(A, matrix, op.in_shape)


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


LINEAR = Bilinear(
    "input", "weight", ("bias",), native=MatMul("input", "weight", transposed=True), trailing=True
)
MM = Bilinear("self", "mat2", native=MatMul("self", "mat2"))
MATMUL = Bilinear("self", "other", native=MatMul("self", "other"))
MV = Bilinear("self", "vec", native=MatMul("self", "vec"))
DOT = Bilinear("self", "tensor", native=MatMul("self", "tensor"))


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
    for op in (aten.linear.default, aten.mm.default, aten.matmul.default):
        registry.kernel(op, SelectedRows, matmul_rows)
    registry.decompose(aten.addmm.default, addmm)
    registry.decompose(aten.addmv.default, addmv)
    registry.decompose(aten.baddbmm.default, baddbmm)
    registry.decompose(aten.addbmm.default, addbmm)
    registry.decompose(aten.bilinear.default, bilinear)
