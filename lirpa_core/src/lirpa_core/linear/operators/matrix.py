"""Products with a fixed matrix, from the right or from the left, with the broadcasting of `torch.matmul`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_core.devices import is_cpu
from lirpa_core.graph import Shape
from lirpa_core.linear.operators.base import LinearOp, OpOfShapes
from lirpa_core.linear.operators.broadcasting import align, sum_to

#: Elements of a block of a large matrix, which stays in the cache while it is used twice.
_BLOCK = 2**18


@dataclass(frozen=True, eq=False)
class MatrixOnTheRight(LinearOp):
    """`x ↦ x @ matrix` for vectors along the last dimension: a linear layer, one matrix for all examples.

    Attributes:
        weight: `[k, n]`.
        shape: `S_in`, which ends in `k`.
    """

    weight: Tensor
    shape: Shape

    @property
    def in_shape(self) -> Shape:
        return self.shape

    @property
    def out_shape(self) -> Shape:
        return (*self.shape[:-1], self.weight.shape[1])

    @property
    def fan_in(self) -> int:
        return self.weight.shape[0]

    @property
    def fan_out(self) -> int:
        return self.weight.shape[1]

    def apply(self, x: Tensor, lead: int = 1) -> Tensor:
        return x @ self.weight

    def apply_abs(self, x: Tensor, lead: int = 1) -> Tensor:
        blocks = self._blocks()
        if blocks is None:
            return x @ self.weight.abs()
        return torch.cat([x @ block.abs() for block in blocks], -1)

    def transpose(self, A: Tensor) -> Tensor:
        return A @ self.weight.mT

    def midpoint_radius(self, midpoint: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        """Both products block by block of a large matrix, so that the block is read from memory once."""
        w, blocks = self.weight, self._blocks()
        if blocks is None:
            return midpoint @ w, radius @ w.abs()
        middle, spread = zip(*[(midpoint @ block, radius @ block.abs()) for block in blocks], strict=True)
        return torch.cat(middle, -1), torch.cat(spread, -1)

    def _blocks(self) -> Sequence[Tensor] | None:
        """Columns of a large matrix, which lie one after another in a linear layer; None: it stays whole.

        With few examples reading the matrix is what takes the time, and writing its absolute values takes
        longer still. While gradients are recorded there is nothing to gain.
        """
        w = self.weight
        if w.numel() <= 2 * _BLOCK or not is_cpu(w) or torch.is_grad_enabled():
            return None
        return torch.split(w, max(1, _BLOCK // w.shape[0]), 1)


@dataclass(frozen=True, eq=False)
class MatrixProduct(OpOfShapes):
    """`x ↦ x @ weight` or `x ↦ weight @ x`, in general: matrices by example, by dimension, and vectors.

    A vector is treated as a matrix with one row (left) or one column (right).

    Attributes:
        weight: The fixed factor as a matrix, `[.., p, q]`; where it is `batched`, `[B, .., p, q]` with at least as
            many dimensions behind the batch as `S_in` has, and two.
        in_shape: `S_in`.
        out_shape: `S_out`.
        left: Whether `x` is the left factor.
        batched: Whether the fixed factor differs between examples.
        vector: Whether the fixed factor was given as a vector.
        transposed: Whether `x`, as the right factor, is stored transposed.
    """

    weight: Tensor
    shapes: tuple[Shape, Shape]
    left: bool
    batched: bool = False
    vector: bool = False
    transposed: bool = False

    @property
    def fan_in(self) -> int:
        return self.weight.shape[-2 if self.left else -1]

    @property
    def fan_out(self) -> int:
        return max(1, math.prod(self.out_shape) * self.fan_in // max(1, math.prod(self.in_shape)))

    def apply(self, x: Tensor, lead: int = 1) -> Tensor:
        return self._times(self.weight, x, lead)

    def apply_abs(self, x: Tensor, lead: int = 1) -> Tensor:
        return self._times(self.weight.abs(), x, lead)

    def _times(self, w: Tensor, x: Tensor, lead: int) -> Tensor:
        if len(self.in_shape) == 1:
            x = x.unsqueeze(-2 if self.left or self.transposed else -1)
        x = align(x if self.left else self._stored(x), lead, w.dim() - self.batched)
        out = times(x, w, lead - 1) if self.left else times_from_left(w, x, lead - 1)
        return out.reshape(*out.shape[:lead], *self.out_shape)

    def transpose(self, A: Tensor) -> Tensor:
        vectors = (len(self.in_shape) == 1, self.vector)
        left_vector, right_vector = vectors if self.left else vectors[::-1]
        if right_vector:
            A = A.unsqueeze(-1)
        if left_vector:
            A = A.unsqueeze(-2)
        w, shape = self.weight.mT, self.in_shape
        out = times(A, w, 1) if self.left else self._stored(times_from_left(w, A, 1))
        if len(shape) == 1:
            return out.flatten(2).unflatten(-1, (-1, shape[0])).sum(2) if out.dim() > 4 else out.flatten(2)
        return sum_to(out, shape, lead=2)

    def _stored(self, x: Tensor) -> Tensor:
        return x.mT if self.transposed else x


def times(x: Tensor, w: Tensor, extra: int) -> Tensor:
    """`x @ w` where `x` has `extra` leading dimensions that `w` has not.

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
