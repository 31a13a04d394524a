"""What the tests of this package share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_testing import few_steps, method_names

Check = Callable[..., dict[str, tuple[Tensor, Tensor]]]


def _extremes(model: nn.Module, x: Tensor, eps: float) -> Tensor:
    """Outputs at random points and corners, and at the ends of signed gradient steps: `[n, B, ..]`."""
    generator = torch.Generator().manual_seed(5)
    starts = 2 * torch.rand(12, *x.shape, dtype=x.dtype, generator=generator) - 1
    starts[4:] = starts[4:].sign()
    points = [x + eps * s for s in starts]
    out = model(x)
    for k in range(min(4, out[0].numel())):
        for sign in (1, -1):
            z = x
            for _ in range(2):
                z = z.detach().requires_grad_()
                (sign * model(z).reshape(len(x), -1)[:, k]).sum().backward()
                z = x + eps * z.grad.sign()
            points.append(z)
    with torch.no_grad():
        return torch.stack([model(p) for p in points])


def _check(
    model: nn.Module,
    x: Tensor,
    eps: float | tuple[float, ...] = 0.03,
    methods: tuple[str, ...] = method_names(),
    gradients: bool = True,
) -> dict[str, tuple[Tensor, Tensor]]:
    """Several radii share one capture; gradients are taken at those that are neither tiny nor huge."""
    model, x = model.double().eval(), x.double()
    bounded = BoundedModule(model, x, bound_opts=few_steps())
    found = {}
    for radius in (eps,) if isinstance(eps, float) else eps:
        found = _check_radius(model, bounded, x, radius, methods, gradients and 1e-6 < radius < 1e2)
    return found


def _check_radius(
    model: nn.Module, bounded: BoundedModule, x: Tensor, eps: float, methods: tuple[str, ...], gradients: bool
) -> dict[str, tuple[Tensor, Tensor]]:
    values = _extremes(model, x, eps)
    found = {}
    for method in methods:
        point = x.clone().requires_grad_(gradients)
        lb, ub = bounded.compute_bounds(x=(BoundedTensor(point, PerturbationLpNorm(eps=eps)),), method=method)
        slack = 1e-11 * (1 + values.abs().amax())
        assert lb.shape == values.shape[1:]
        excess = float(torch.maximum(lb - values, values - ub).detach().amax())
        assert excess <= slack, f"{method}: {excess:.3g} outside"
        if gradients:
            leaves = [point, *model.parameters()]
            grads = torch.autograd.grad((ub - lb).sum(), leaves, allow_unused=True)
            assert all(g is None or bool(g.isfinite().all()) for g in grads), method
        found[method] = (lb.detach(), ub.detach())
    return found


@pytest.fixture
def check_in_turn(methods: tuple[str, ...]) -> Check:
    """As `check`, each case of a test in other methods."""
    return partial(_check, methods=methods)


@pytest.fixture
def check() -> Check:
    """Bounds in all methods, compared with samples, corners and attacks; gradients; a batch of several."""
    return _check
