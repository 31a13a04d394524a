"""Selected rows and dense coefficients against arithmetic on the dense tensor."""

import math

import pytest
import torch

from lirpa_core.linear.coefficients import (
    DenseCoefficients,
    PositionwiseCoefficients,
    SelectedRows,
    StructuredCoefficients,
    add,
)
from lirpa_core.linear.coefficients.base import bilinear_sum
from lirpa_core.linear.operators import Diagonal, align, sum_to

R, B, S = 5, 3, (2, 1, 4)


def T(*sizes: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(sizes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _rows(index_batch: int, scales: tuple[int, int] = (R, B)) -> SelectedRows:
    index = torch.randint(math.prod(S), (R, index_batch), generator=torch.Generator().manual_seed(3))
    return SelectedRows(index, T(*scales, seed=4), S)


def _positionwise(factors: int | None, positions: tuple[int, ...] = (0, 1)) -> PositionwiseCoefficients:
    P, n, k = len(positions), 3, S[-1]
    index = torch.randint(P * n, (R, 1), generator=torch.Generator().manual_seed(5))
    factor = None if factors is None else T(factors, P, k, seed=6)
    return PositionwiseCoefficients(
        SelectedRows(index, T(R, 1, seed=7), (P, n)), T(n, k), torch.tensor(positions), factor, S
    )


class Bare(StructuredCoefficients):
    """A structure that knows nothing but its meaning."""

    def __init__(self, A):
        self.A = A

    rows = property(lambda self: self.A.shape[0])
    batch = property(lambda self: self.A.shape[1])
    shape = property(lambda self: tuple(self.A.shape[2:]))

    def to_dense(self):
        return self.A


MAPS = {
    "dense": DenseCoefficients(T(R, B, *S)),
    "dense shared": DenseCoefficients(T(R, 1, *S)),
    "rows": _rows(B),
    "rows shared": _rows(1, (R, 1)),
    "rows shared, scales not": _rows(1),
    "rows, one scale": _rows(B, (1, 1)),
    "identity": SelectedRows.identity(S, dtype=torch.float64, device="cpu"),
    "positionwise": _positionwise(None),
    "positionwise, scaled": _positionwise(B),
    "positionwise, one of two": _positionwise(1, (1,)),
    "bare": Bare(T(R, B, *S)),
}


def close(a, b):
    torch.testing.assert_close(*torch.broadcast_tensors(a, b), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("leading", [1, B])
@pytest.mark.parametrize("name", MAPS)
def test_means_what_its_dense_form_means(name, leading):
    m = MAPS[name]
    A = m.to_dense()
    n = m.rows
    assert A.shape == (n, m.batch, *S) == (m.rows, m.batch, *m.shape)
    v, w = T(leading, *S, seed=5), T(leading, *S, seed=6)
    axes = [2, 3, 4]
    close(m.dot(v), (A * v).sum(axes))
    close(m.split_dot(v, w), (A.clamp(min=0) * v + A.clamp(max=0) * w).sum(axes))
    close(m.scale(v).to_dense(), A * v)
    close(m.relax(v, w).to_dense(), A.clamp(min=0) * v + A.clamp(max=0) * w)
    for q in (1, 2, 3, math.inf):
        close(m.dual_norm(q), torch.linalg.vector_norm(A, q, axes))
        close(m.dual_norm(q, v.abs()), torch.linalg.vector_norm(A * v.abs(), q, axes))
    close(m.negate().to_dense(), -A)
    close(m.with_negated().to_dense(), torch.cat([A, -A]))
    close(m.take(1, 3).to_dense(), A[1:3])
    positive, negative = m.split()
    close(positive.to_dense(), A.clamp(min=0))
    close(negative.to_dense(), A.clamp(max=0))
    close(m.squeeze(1).to_dense(), A.squeeze(3))
    assert m.squeeze(1).shape == (2, 4)
    close(m.sum_to((1, 4)).to_dense(), A.sum(2))
    close(m.sum_to((2, 1, 1)).to_dense(), A.sum(4, keepdim=True))
    assert m.sum_to(S) is m


@pytest.mark.parametrize("first", MAPS)
@pytest.mark.parametrize("second", ["dense", "dense shared", "rows", "bare"])
def test_sums(first, second):
    a, b = MAPS[first], MAPS[second]
    if a.rows != b.rows:
        a = a.take(0, R)
    close(add(a, b).to_dense(), a.to_dense() + b.to_dense())


def test_selecting_elements():
    index = torch.tensor([[0, 7], [3, 3]])
    m = SelectedRows.select(index, S, dtype=torch.float32)
    v = torch.arange(16.0).reshape(2, *S)
    assert torch.equal(m.dot(v), torch.tensor([[0.0, 15.0], [3.0, 11.0]]))


def test_products_promote_element_types():
    assert bilinear_sum(torch.ones(2, 1, 3), torch.ones(1, 3).double()).dtype == torch.float64
    assert bilinear_sum(torch.ones(2, 4, 3).double(), torch.ones(4, 3)).dtype == torch.float64


@pytest.mark.parametrize("slope", [(B, 2, 3), (1, 2, 3)])
@pytest.mark.parametrize("shape", [(2, 3), (3,), (1, 3), (2, 1), ()])
def test_diagonal_is_a_matrix(slope, shape, oracle):
    op = Diagonal(T(*slope), shape)
    J = torch.zeros(B, 2, 3, *shape).double()
    basis = torch.eye(math.prod(shape)).double().reshape(-1, *shape)
    for k, e in enumerate(basis):
        J.reshape(B, 2, 3, -1)[..., k] = op.slope * e
    oracle.assert_transposes(op, J.reshape(B, 6, -1), (2, 3))


def test_alignment_and_its_undoing():
    x = T(2, 3, 4)
    assert align(x, 1, 4).shape == (2, 1, 1, 3, 4) and align(x, 1, 2) is x
    close(sum_to(T(2, 5, 3, 4), (3, 1), 1), T(2, 5, 3, 4).sum((1, 3)).unsqueeze(-1))
    assert sum_to(x, (3, 4), 1) is x
