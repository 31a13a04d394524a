"""Products with transposed Jacobians are those of `torch.func.vjp`, in every surrounding.

That they import no compiler is tested in `capture/test_recording.py`."""

from __future__ import annotations

import torch
from torch import Tensor

from lirpa_core.rules import pulled_back

W = torch.tensor([[1.0, -2.0, 0.5], [3.0, 0.0, 4.0]], dtype=torch.float64)
X = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
A = torch.tensor([2.0, -1.0], dtype=torch.float64)


def cubed(x: Tensor) -> Tensor:
    return W @ x**3


def by_hand(x: Tensor, a: Tensor) -> Tensor:
    return (a @ W) * 3 * x**2


def test_it_is_the_product_by_hand() -> None:
    with torch.no_grad():
        found = pulled_back(cubed, X, A)
    torch.testing.assert_close(found, by_hand(X, A), rtol=1e-14, atol=0)
    assert not found.requires_grad


def test_of_what_does_not_depend_on_its_argument_it_is_zero() -> None:
    other = X.clone().requires_grad_()
    assert pulled_back(lambda _: W @ other, X, A).tolist() == [0, 0, 0]
    assert pulled_back(lambda _: W @ X, X, A).tolist() == [0, 0, 0]


def test_the_point_is_moved_alone_where_the_function_sees_it_elsewhere() -> None:
    x = X.clone().requires_grad_()
    torch.testing.assert_close(pulled_back(lambda z: W @ (z * x), x, A), (A @ W) * x)


def test_it_can_be_differentiated() -> None:
    x, a = X.clone().requires_grad_(), A.clone().requires_grad_()
    found = torch.autograd.grad(pulled_back(cubed, x, a).sum(), (x, a))
    wanted = torch.autograd.grad(by_hand(x, a).sum(), (x, a))
    torch.testing.assert_close(found, wanted)


def test_it_can_be_transformed() -> None:
    rows = torch.stack([A, -2 * A])
    found = torch.vmap(lambda a: pulled_back(cubed, X, a))(rows)
    torch.testing.assert_close(found, torch.stack([by_hand(X, a) for a in rows]))
    slope = torch.func.grad(lambda x: pulled_back(cubed, x, A).sum())(X)
    torch.testing.assert_close(slope, (A @ W) * 6 * X)


def test_infinite_coefficients_meet_no_value_of_the_function() -> None:
    a = torch.tensor([torch.inf, 0.0], dtype=torch.float64)
    assert pulled_back(lambda x: W.T[:2] @ x[:2], X * 0, a).tolist() == [torch.inf, torch.inf, 0]


@torch.library.custom_op("lirpa_test::pulled_back", mutates_args=())
def inside(x: Tensor, a: Tensor) -> Tensor:
    return pulled_back(cubed, x, a)


def test_it_is_no_zero_where_nothing_is_recorded() -> None:
    with torch.inference_mode():
        torch.testing.assert_close(pulled_back(cubed, X, A), by_hand(X, A), rtol=1e-14, atol=0)
    torch.testing.assert_close(inside(X, A), by_hand(X, A), rtol=1e-14, atol=0)
