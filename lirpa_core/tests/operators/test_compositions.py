"""Rarer functions are those of PyTorch, and have bounds."""

import math

import pytest
import torch

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.operators import compositions

X = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
INDEX = torch.tensor([0, 1, 1, 0])


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (compositions.ndtri(X.sigmoid()), torch.special.ndtri(X.sigmoid())),
        (compositions.ldexp(X, torch.tensor(3)), torch.ldexp(X, torch.tensor(3))),
        (compositions.renorm(X, 2, 0, 1.5), torch.renorm(X, 2, 0, 1.5)),
        (compositions.renorm(X, 1, 1, 0.5), torch.renorm(X, 1, 1, 0.5)),
        (
            compositions.index_reduce(X[:, :2], 1, INDEX, X, "amax", include_self=False),
            torch.stack([X[:, [0, 3]].amax(1), X[:, [1, 2]].amax(1)], 1),
        ),
        (
            compositions.diagonal_scatter(X, X[:, 0], 1, 0, 1),
            torch.diagonal_scatter(X, X[:, 0], 1, 0, 1),
        ),
    ],
    ids=["ndtri", "ldexp", "renorm", "renorm of columns", "index_reduce", "diagonal_scatter"],
)
def test_values(ours, theirs):
    torch.testing.assert_close(ours, theirs)


def test_sinc_is_a_sum_of_cosines_and_a_quotient():
    """Everywhere, also where one gives way to the other and at zero."""
    x = torch.cat([torch.linspace(-9, 9, 3601, dtype=torch.float64), torch.tensor([0.0, -0.0, 4.0, 1e-300])])
    torch.testing.assert_close(compositions.sinc(x), torch.sinc(x), atol=1e-15, rtol=0)


@pytest.mark.parametrize(("middle", "eps"), [(0.0, 0.4), (1.2, 0.5), (-4.0, 0.3), (7.0, 2.0)])
def test_sinc_has_bounds_at_zero_too(middle, eps):
    x = torch.tensor([[middle]], dtype=torch.float64)
    values = torch.sinc(x + torch.linspace(-eps, eps, 2001, dtype=torch.float64).unsqueeze(1))
    for method in ("IBP", "CROWN"):
        lower, upper = BoundedModule(torch.sinc, x).compute_bounds(
            x=(BoundedTensor(x, PerturbationLpNorm(eps=eps)),), method=method
        )
        assert float(lower) <= float(values.min()) + 1e-15 and float(values.max()) <= float(upper) + 1e-15
        if middle == 0.0:
            assert math.isclose(float(upper), 1, abs_tol=1e-12) and math.isclose(
                float(lower), float(values.min()), abs_tol=1e-12
            )


def test_copysign():
    x = torch.tensor([[2.0, 0.1, -1.0]]).double()
    lower, upper = BoundedModule(lambda x: torch.copysign(x[:, :1], x[:, 1:]), x).compute_bounds(
        x=(BoundedTensor(x, PerturbationLpNorm(eps=0.5)),), method="CROWN"
    )
    torch.testing.assert_close(lower, torch.tensor([[-2.5, -2.5]]).double())
    torch.testing.assert_close(upper, torch.tensor([[2.5, -1.5]]).double())
