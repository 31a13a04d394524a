"""Sums, means, cumulative sums; and what variances, norms and products fall apart into."""

import math

import pytest
import torch

from lirpa_core.operators import reduction
from lirpa_core.plugins import default_registry
from lirpa_core.rules.call import Call, Operand
from lirpa_testing.core_cases.reduction import AFFINE

aten = torch.ops.aten


def X(*sizes: int) -> Operand:
    return Operand(sizes)


def T(*sizes: int) -> torch.Tensor:
    return torch.randn(sizes, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("name", AFFINE)
def test_exact_in_every_mode(name, oracle):
    op, *args = AFFINE[name]
    call = Call.of(op, *args)
    rule = default_registry().rule_for(op)
    oracle.assert_affine(rule, call, default_registry())
    oracle.assert_native(rule, call)


@pytest.mark.parametrize("dim", [None, [], [1], [0, -1]])
@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("correction", [None, 0, 1, 0.5])
def test_variances(dim, keepdim, correction, oracle):
    x, options = T(3, 4, 2), {"correction": correction, "keepdim": keepdim}
    oracle.close(reduction.variance(x, dim, **options), aten.var.correction(x, dim, **options))
    oracle.close(reduction.deviation(x, dim, **options), aten.std.correction(x, dim, **options))
    for mine, theirs in (
        (reduction.variance_and_mean, aten.var_mean.correction),
        (reduction.deviation_and_mean, aten.std_mean.correction),
    ):
        for a, b in zip(mine(x, dim, **options), theirs(x, dim, **options), strict=True):
            oracle.close(a, b)


def test_a_variance_of_one_element_is_undefined():
    assert reduction.variance(T(2, 1), [1]).isnan().all()
    assert (reduction.variance(T(2, 1), [1], correction=0) == 0).all()


@pytest.mark.parametrize("ord", [0, 1, 2, 3, 4, 1.5, math.inf, -math.inf])
@pytest.mark.parametrize(("dim", "keepdim"), [(None, False), ([1], True), ([0, -1], False), (None, True)])
def test_norms(ord, dim, keepdim, oracle):  # noqa: A002
    x = T(3, 4)
    x[0, 1] = 0
    oracle.close(
        reduction.vector_norm(x, ord, dim, keepdim), aten.linalg_vector_norm.default(x, ord, dim, keepdim)
    )


@pytest.mark.parametrize("ord", [0, 1, 2, 3])
def test_norms_of_one_element_are_absolute_values(ord, oracle):  # noqa: A002
    for x, dim in ((T(), None), (T(3, 1), [1])):
        oracle.close(reduction.vector_norm(x, ord, dim), aten.linalg_vector_norm.default(x, ord, dim))


def test_a_norm_in_another_element_type():
    norm = reduction.vector_norm(torch.ones(3), dtype=torch.float64)
    assert norm.dtype == torch.float64


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7])
@pytest.mark.parametrize("keepdim", [False, True])
def test_products(n, keepdim, oracle):
    x = T(2, n, 3)
    oracle.close(reduction.product(x, -2, keepdim), x.prod(-2, keepdim))
    oracle.close(reduction.whole_product(x), x.prod())
    assert reduction.product(x.float(), 1, dtype=torch.float64).dtype == torch.float64
    oracle.close(reduction.product(T(), 0), T())


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_distances(p, oracle):
    x, y = T(2, 3, 4), T(2, 5, 4) + 1
    oracle.close(reduction.distances(x, y, p), torch.cdist(x, y, p))
