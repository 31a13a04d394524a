"""Linear operators and their algebra, against the matrices that they stand for."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import Diagonal, LinearOp, MatrixOnTheRight, MatrixProduct
from lirpa_core.plugins import default_registry
from lirpa_core.rules import Call, Operand

aten = torch.ops.aten
BATCH = 3


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def term(call: Call) -> LinearOp:
    rule = default_registry().rule_for(call.node.target)
    assert rule is not None
    op = rule.relax(call, (None,) * len(call.shapes)).lower.terms[0]
    assert op is not None
    return op


LAYER = MatrixOnTheRight(draw(4, 3), (2, 4))
NARROW = MatrixOnTheRight(draw(3, 2, seed=1), (2, 3))
SCALE = Diagonal(draw(BATCH, 2, 3, seed=2), (2, 3))
WIDE = Diagonal(draw(BATCH, 2, 3, seed=3), (1, 3))
ROWS = MatrixProduct(draw(BATCH, 2, 2, seed=4), ((2, 3), (2, 3)), left=False, batched=True)
FLIP = term(Call.of(aten.flip.default, Operand((2, 3)), [1]))

OPERATORS: dict[str, Callable[[], LinearOp]] = {
    "matrix": lambda: LAYER,
    "diagonal": lambda: SCALE,
    "broadcast": lambda: WIDE,
    "matrices by example": lambda: ROWS,
    "permutation": lambda: FLIP,
    "negative": lambda: -LAYER,
    "sum": lambda: SCALE + ROWS,
    "difference": lambda: SCALE - ROWS,
    "difference of itself": lambda: ROWS - ROWS,
    "composition": lambda: NARROW @ LAYER,
    "composition with a diagonal": lambda: SCALE @ LAYER,
    "composition after a permutation": lambda: NARROW @ FLIP,
    "composition after a broadcast": lambda: NARROW @ WIDE,
    "three": lambda: NARROW @ (SCALE + FLIP) @ LAYER,
    "absolute": lambda: abs(NARROW @ LAYER),
    "transpose": lambda: LAYER.T,
    "transpose of a composition": lambda: (NARROW @ ROWS).T,
    "transpose twice": lambda: (NARROW @ ROWS).T.T,
    "transpose of an absolute value": lambda: abs(SCALE - ROWS).T,
}


def dense(op: LinearOp) -> Tensor:
    """The matrix `[B, *S_out, *S_in]` flattened to `[B, m, n]`, from `apply` alone."""
    n = math.prod(op.in_shape)
    columns = [op.apply(torch.eye(n).double()[i].reshape(1, *op.in_shape)) for i in range(n)]
    return torch.stack([c.expand(BATCH, *op.out_shape).flatten(1) for c in columns], -1)


@pytest.mark.parametrize("name", OPERATORS)
def test_all_methods_are_those_of_the_matrix(name: str) -> None:
    op = OPERATORS[name]()
    W = dense(op)
    x = draw(5, BATCH, *op.in_shape, seed=7)
    A = draw(4, BATCH, *op.out_shape, seed=8)
    for lead, given in ((1, x[0]), (2, x)):
        flat = given.flatten(lead)
        assert op.apply(given, lead).shape == (*given.shape[:lead], *op.out_shape)
        torch.testing.assert_close(
            op.apply(given, lead).flatten(lead), torch.einsum("bmn,...bn->...bm", W, flat)
        )
        torch.testing.assert_close(
            op.apply_abs(given, lead).flatten(lead), torch.einsum("bmn,...bn->...bm", W.abs(), flat)
        )
    torch.testing.assert_close(op.transpose(A).flatten(2), torch.einsum("bmn,rbm->rbn", W, A.flatten(2)))
    assert op.transpose(A).shape == (4, BATCH, *op.in_shape)
    low = x[0]
    box = Interval(low, low + x[1].abs())
    middle, radius = (
        torch.einsum("bmn,bn->bm", W, box.midpoint.flatten(1)),
        torch.einsum("bmn,bn->bm", W.abs(), box.radius.flatten(1)),
    )
    bias = draw(1, *op.out_shape, seed=9)
    for given in (box, Interval.from_midpoint_radius(box.midpoint, box.radius)):
        found = op.interval(given, bias)
        torch.testing.assert_close(found.lower.flatten(1), middle - radius + bias.flatten(1))
        torch.testing.assert_close(found.upper.flatten(1), middle + radius + bias.flatten(1))
    if op.monomial:
        assert int((W != 0).sum(1).max()) <= 1 and int((W != 0).sum(2).max()) <= 1


def test_what_is_known_to_be_monomial() -> None:
    assert SCALE.monomial and FLIP.monomial and (SCALE @ FLIP).monomial and (-FLIP).T.monomial
    assert not WIDE.monomial and not LAYER.monomial and not (SCALE + FLIP).monomial


def test_the_transpose_of_a_composition() -> None:
    assert torch.equal(dense((NARROW @ LAYER).T), dense(NARROW @ LAYER).mT)
    assert LAYER.T.T is LAYER


def test_operators_that_do_not_fit() -> None:
    with pytest.raises(
        ValueError, match=r"same shapes, got one from \[2, 4\] to \[2, 3\] and one from \[2, 3\]"
    ):
        LAYER + SCALE
    with pytest.raises(
        ValueError, match=r"got one from \[2, 4\] to \[2, 3\] after one from \[2, 3\] to \[2, 3\]"
    ):
        LAYER @ SCALE


def test_a_large_matrix_in_blocks_is_the_matrix() -> None:
    op = MatrixOnTheRight(draw(1100, 700), (1100,))
    middle, radius = draw(2, 1100, seed=1), draw(2, 1100, seed=2).abs()
    with torch.no_grad():
        found = op.midpoint_radius(middle, radius)
    torch.testing.assert_close(found[0], middle @ op.weight)
    torch.testing.assert_close(found[1], radius @ op.weight.abs())
