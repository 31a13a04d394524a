"""Brute force, attacks and small models that the tests of all threat models share."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, Perturbation
from lirpa_core.errors import PerturbationError
from lirpa_core.linear.coefficients import DenseCoefficients
from lirpa_testing import few_steps, method_names

F64 = torch.float64


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def assert_minimum(ptb: Perturbation, x: Tensor, members: Tensor, rows: int = 20, seed: int = 0) -> None:
    """`concretize` gives the least value over a complete list of (extreme) members `[n, B, *S]`."""
    ptb.validate(x)
    A = randn(rows, *x.shape, seed=seed)
    least = torch.einsum("rbi,nbi->nrb", A.flatten(2), members.flatten(2)).amin(0)
    torch.testing.assert_close(ptb.concretize(x, DenseCoefficients(A)), least, rtol=1e-12, atol=1e-12)
    assert ptb.contains(x, members).all()
    hull = ptb.hull(x)
    torch.testing.assert_close(hull.lower, members.amin(0))
    torch.testing.assert_close(hull.upper, members.amax(0))


@cache
def model_of(shape: tuple[int, ...], act: type[nn.Module] = nn.ReLU) -> tuple[nn.Module, BoundedModule]:
    """A small network for examples of a shape, plain and captured; the same one for all tests."""
    inputs = torch.Size(shape).numel()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Flatten(), nn.Linear(inputs, 10), act(), nn.Linear(10, 8), act(), nn.Linear(8, 3)]
    model = nn.Sequential(*layers).double().eval()
    return model, BoundedModule(model, torch.zeros(1, *shape, dtype=F64), bound_opts=few_steps())


def attack(model: nn.Module, ptb: Perturbation, x: Tensor, steps: int = 12) -> tuple[Tensor, Tensor]:
    """Lowest and highest outputs `[B, K]` that samples and projected gradient steps find."""
    n, K = 60, model(x).shape[1]
    z = ptb.sample(x, n, torch.Generator().manual_seed(7))
    goal = torch.arange(n) % (2 * K)
    sign = torch.where(goal < K, 1.0, -1.0).to(x)
    low, high = model(x), model(x)
    for _ in range(steps):
        z = z.detach().requires_grad_()
        out = model(z.flatten(0, 1)).reshape(n, x.shape[0], K)
        low, high = low.minimum(out.detach().amin(0)), high.maximum(out.detach().amax(0))
        score = (out[torch.arange(n), :, goal % K] * sign.unsqueeze(1)).sum()
        (g,) = torch.autograd.grad(score, z)
        norm = g.flatten(2).norm(dim=2).clamp(min=1e-12).reshape(n, -1, *[1] * (x.dim() - 1))
        z = ptb.project(x, z.detach() - g / norm * (0.5 + torch.arange(n).reshape(-1, *[1] * x.dim()) / 10))
    return low, high


def assert_attacks_stay_inside(ptb: Perturbation, x: Tensor, act: type[nn.Module] = nn.ReLU) -> None:
    """Random and gradient attacks stay inside the bounds of all methods, and gradients are finite."""
    model, bounded = model_of(tuple(x.shape[1:]), act)
    low, high = attack(model, ptb, x)
    for method in method_names():
        nominal = x.clone().requires_grad_()
        lb, ub = bounded.compute_bounds(x=(BoundedTensor(nominal, ptb),), method=method)
        assert (lb <= low + 1e-9).all(), method
        assert (ub >= high - 1e-9).all(), method
        (gradient,) = torch.autograd.grad((ub - lb).sum(), nominal)
        assert gradient.isfinite().all(), method


def refuses(words: str, make: Callable[[], Any]) -> None:
    """Making (and validating) a perturbation fails with a message that contains these words."""
    with pytest.raises(PerturbationError) as caught:
        make()
    assert words in str(caught.value)


@pytest.fixture(scope="session")
def brute() -> SimpleNamespace:
    """The helpers above: test modules cannot import one another."""
    helpers = (assert_minimum, assert_attacks_stay_inside, model_of, rand, randn, refuses)
    return SimpleNamespace(**{helper.__name__: helper for helper in helpers})
