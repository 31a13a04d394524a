"""Models that are almost what a pattern describes, or twice almost the same: bounds hold for what they are."""

from __future__ import annotations

import math
from collections.abc import Callable

import flint
import pytest
import torch
from torch import Tensor

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_testing import few_steps, method_names


def means_of_several_widths(x: Tensor) -> Tensor:
    """Sums of ones, which are as many as their shapes say."""
    c = x[:, :1] / torch.ones_like(x).sum(-1, keepdim=True) - 1
    d = x[:, :1] / torch.ones_like(x[:, :2]).sum(-1, keepdim=True) - 1
    return torch.where(c > 0, c, 0.0) - 2 * torch.where(d > 0, d, 0.0)


def means_of_exponentials(x: Tensor) -> Tensor:
    """The same of constants that are computed."""
    c = x[:, :1] / torch.ones_like(x).exp().sum(-1, keepdim=True) - 0.1
    d = x[:, :1] / torch.ones_like(x[:, :2]).exp().sum(-1, keepdim=True) - 0.1
    return torch.where(c > 0, c, 0.0) - 2 * torch.where(d > 0, d, 0.0)


def masks_of_several_widths(x: Tensor) -> Tensor:
    """Ones and zeros next to each other, here one and two, there two and one."""
    one, zero = torch.ones_like, torch.zeros_like
    left = x * torch.cat([one(x[:, :1]), zero(x[:, :2])], -1)
    right = x * torch.cat([one(x[:, :2]), zero(x[:, :1])], -1)
    return torch.where(left > 0, left, 0.0) - torch.where(right > 0, right, 0.0)


def zeros_before_and_after(x: Tensor) -> Tensor:
    """The same numbers at other places."""
    one, two = torch.zeros_like(x[:, :1]), torch.zeros_like(x[:, :2])
    a, b = torch.cat([one, x, two], -1) - 3, torch.cat([two, x, one], -1) - 3
    return torch.relu(a) - 2 * torch.where(b > 0, b, 0.0)


def softmax_beside_constants(x: Tensor) -> Tensor:
    """A logarithm of a sum over constants of several widths."""
    wide = torch.zeros_like(x).logsumexp(-1, keepdim=True)
    narrow = torch.zeros_like(x[:, :2]).logsumexp(-1, keepdim=True)
    return torch.relu(x[:, :1] - wide) - 2 * torch.relu(x[:, :1] - narrow)


def numbers_of_no_dimension(x: Tensor) -> Tensor:
    """A number that is perturbed, beside constants of several widths; for a model without a batch."""
    s = x.sum()
    two, three = s + x.new_ones(2), s + x.new_ones(3)
    return torch.relu(three.sum()) - 2 * torch.where(two.sum() > 0, two.sum(), 0.0)


MODELS: tuple[Callable[[Tensor], Tensor], ...] = (
    means_of_several_widths, means_of_exponentials, masks_of_several_widths, zeros_before_and_after,
    softmax_beside_constants,
)  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("model", MODELS)
def test_bounds_hold_at_all_corners(model: Callable[[Tensor], Tensor], dtype: torch.dtype) -> None:
    x, eps = torch.zeros(1, 3, dtype=dtype), 5.0
    bounded = BoundedModule(model, x, bound_opts=few_steps(2))
    grid = torch.linspace(-eps, eps, 11, dtype=dtype)
    values = model(torch.cartesian_prod(grid, grid, grid))
    slack = 8 * torch.finfo(dtype).eps * values.abs().max()
    for method in method_names():
        lower, upper = bounded.compute_bounds(BoundedTensor(x, PerturbationLpNorm(eps=eps)), method=method)
        assert bool((lower - slack <= values).all() and (values <= upper + slack).all()), method


@pytest.mark.parametrize("method", method_names())
def test_numbers_of_no_dimension(method: str) -> None:
    x = torch.zeros(2, dtype=torch.float64)
    bounded = BoundedModule(numbers_of_no_dimension, x, few_steps(2), batch_dims=None)
    lower, upper = bounded.compute_bounds(BoundedTensor(x, PerturbationLpNorm(eps=1.0)), method=method)
    for s in torch.linspace(-2, 2, 41, dtype=torch.float64):
        value = numbers_of_no_dimension(torch.stack([s / 2, s / 2]))
        assert float(lower) - 1e-12 <= float(value) <= float(upper) + 1e-12


@pytest.mark.parametrize("at", [1.0, 300.0, 700.0])
def test_a_power_of_e_in_a_pattern(at: float) -> None:
    """`math.e` is 5·10⁻¹⁷ of its size below e, of which a logarithm leaves half a rounding."""
    x = torch.full((1, 1), at, dtype=torch.float64)
    bounded = BoundedModule(lambda z: torch.log(1 + math.e**z), torch.zeros_like(x))
    lower, upper = bounded.compute_bounds(BoundedTensor(x, PerturbationLpNorm(eps=0.0)), method="IBP")
    with flint.ctx.workprec(200):
        power = flint.arb(math.e) ** flint.arb(at)
        assert flint.arb(float(lower)) <= (1 + power).log() <= flint.arb(float(upper))


#: Logarithms of one plus an exponential, in several ways.
SOFTPLUS: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda x: torch.log1p(torch.exp(x)),
    lambda x: torch.log(1 + torch.exp(x)),
    lambda x: torch.relu(x) + torch.log1p(torch.exp(-x.abs())),
    lambda x: x + torch.log1p(torch.exp(-x)),
    lambda x: -torch.log(torch.sigmoid(-x)),
)


@pytest.mark.parametrize("at", [19.99, 20.5, 25.0, -20.5])
@pytest.mark.parametrize("i", range(len(SOFTPLUS)))
def test_softplus_is_curved_everywhere(i: int, at: float) -> None:
    """PyTorch's softplus is `x` from 20 on, off by 2·10⁻⁹ there: another function."""
    x = torch.full((1, 1), at, dtype=torch.float64)
    bounded = BoundedModule(SOFTPLUS[i], torch.zeros_like(x), bound_opts=few_steps(2))
    exact = max(at, 0.0) + torch.tensor(-abs(at), dtype=torch.float64).exp().log1p()
    for method in method_names():
        ball = BoundedTensor(x, PerturbationLpNorm(eps=1e-13))
        lower, upper = bounded.compute_bounds(ball, method=method)
        assert float(lower) <= float(exact) + 1e-14 and float(exact) - 1e-14 <= float(upper), method
        assert float(upper - lower) < 1e-11
