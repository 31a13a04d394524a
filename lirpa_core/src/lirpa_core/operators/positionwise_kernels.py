"""Kernels for rows of a matrix that is applied at each position: what keeps its vectors whole."""

from __future__ import annotations

import math
from typing import Any

import torch

from lirpa_core.linear.coefficients import Coefficients, PositionwiseCoefficients
from lirpa_core.linear.operators import LinearOp, MatrixOnTheRight
from lirpa_core.operators.arithmetic import factor_of
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.linear import StructuralOp

aten = torch.ops.aten


def multiply(op: LinearOp, A: PositionwiseCoefficients) -> Coefficients | None:
    """Through a product with a fixed matrix on the right: the product of the matrices."""
    assert isinstance(op, MatrixOnTheRight)
    return A.times(op.weight.mT, op.in_shape)  # contiguous rows in a linear layer


def add(op: LinearOp, A: PositionwiseCoefficients) -> Coefficients | None:
    """Through a sum with something of the same shape or smaller: the same rows."""
    assert isinstance(op, StructuralOp)
    if op.in_shape != A.size:
        return None
    return A.times_number(factor_of(op.call, op.slot))


def reshape(op: LinearOp, A: PositionwiseCoefficients) -> Coefficients | None:
    """Through a view that leaves the last dimension alone."""
    if not op.in_shape or not A.size or op.in_shape[-1] != A.size[-1]:
        return None
    return A.reshaped(op.in_shape)


def move(op: LinearOp, A: PositionwiseCoefficients) -> Coefficients | None:
    """Through a rearrangement that keeps vectors whole: look up where each came from."""
    assert isinstance(op, StructuralOp)
    native = op.rule.native
    if native is None or not native.keeps_vectors(op.call):
        return None
    numbers = torch.arange(math.prod(op.in_shape), device=A.positions.device).reshape(1, *op.in_shape)
    sources = op.apply(numbers)[..., 0].div(op.in_shape[-1], rounding_mode="floor")
    return A.moved(sources, op.in_shape)


_RESHAPES: tuple[Any, ...] = (
    aten.view.default, aten.reshape.default, aten._unsafe_view.default, aten.flatten.using_ints,
    aten.unflatten.int, aten.squeeze.dim, aten.unsqueeze.default,
)  # fmt: skip

_MOVES: tuple[Any, ...] = (
    aten.permute.default, aten.transpose.int, aten.slice.Tensor, aten.select.int, aten.narrow.default,
    aten.split.Tensor, aten.split.sizes, aten.split_with_sizes.default, aten.chunk.default, aten.unbind.int,
    aten.expand.default,
)  # fmt: skip


def register(registry: OperatorRegistry) -> None:
    """Register this file's kernels."""
    registry.kernel(MatrixOnTheRight, PositionwiseCoefficients, multiply)
    for op in (
        aten.add.Tensor, aten.add.Scalar, aten.sub.Tensor, aten.sub.Scalar, aten.rsub.Tensor, aten.rsub.Scalar,
        aten.neg.default,
    ):  # fmt: skip
        registry.kernel(op, PositionwiseCoefficients, add)
    for op in _RESHAPES:
        registry.kernel(op, PositionwiseCoefficients, reshape)
    for op in _MOVES:
        registry.kernel(op, PositionwiseCoefficients, move)
