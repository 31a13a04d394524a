"""Random small networks, every method and norm, attacked by gradient."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_testing import few_steps, method_names
from lirpa_testing.methods.attack import worst_escape
from lirpa_testing.methods.networks import FUNCTIONS, STEPS, RandomNetwork

networks = st.builds(
    RandomNetwork,
    steps=st.lists(
        st.tuples(st.sampled_from(STEPS), st.sampled_from(sorted(FUNCTIONS)), st.integers(0, 3)),
        min_size=1,
        max_size=5,
    ),
    width=st.integers(2, 4),
    seed=st.integers(0, 10**6),
)


drawn = given(
    model=networks,
    norm=st.sampled_from([1.0, 2.0, 3.5, math.inf]),
    eps=st.sampled_from([1e-3, 0.1, 0.7]),
    batch=st.integers(1, 3),
)


@settings(max_examples=10)
@drawn
def test_no_attack_escapes(model: RandomNetwork, norm: float, eps: float, batch: int) -> None:
    attacked(model, norm, eps, batch)


@pytest.mark.thorough
@settings(max_examples=100)
@drawn
def test_no_attack_escapes_from_many(model: RandomNetwork, norm: float, eps: float, batch: int) -> None:
    attacked(model, norm, eps, batch)


def attacked(model: RandomNetwork, norm: float, eps: float, batch: int) -> None:
    """Bounds of every method hold where attacks end."""
    model = model.double()
    width = model.head.in_features
    x = torch.randn(batch, width, dtype=torch.float64, generator=torch.Generator().manual_seed(batch))
    point = BoundedTensor(x, PerturbationLpNorm(norm=norm, eps=eps))
    bounded = BoundedModule(model, x, bound_opts=few_steps())
    for method in method_names():
        with torch.no_grad():
            lower, upper = bounded.compute_bounds(x=point, method=method)
        assert worst_escape(model, point, lower, upper) <= 1e-9 * (1 + float(upper.abs().max())), method


@pytest.fixture(scope="module")
def twisted() -> tuple[RandomNetwork, BoundedModule]:
    steps = [("function", "relu", 0), ("product", "tanh", 1), ("residual", "gelu", 2), ("maximum", "abs", 1)]
    model = RandomNetwork(steps, 4, seed=3).double()
    return model, BoundedModule(model, torch.zeros(2, 4, dtype=torch.float64))


@pytest.fixture(scope="module")
def plain() -> BoundedModule:
    steps = [("function", "relu", 0), ("residual", "sigmoid", 1), ("function", "leaky_relu", 0)]
    model = RandomNetwork(steps, 4, seed=4).double()
    return BoundedModule(model, torch.zeros(3, 4, dtype=torch.float64), bound_opts=few_steps())


@pytest.mark.parametrize("method", method_names())
def test_a_single_point_is_exact(method: str, twisted: tuple[RandomNetwork, BoundedModule]) -> None:
    (model, bounded), x = twisted, torch.randn(2, 4, dtype=torch.float64)
    point = BoundedTensor(x, PerturbationLpNorm(eps=0.0))
    lower, upper = bounded.compute_bounds(x=point, method=method)
    assert torch.allclose(lower, model(x), atol=1e-12) and torch.allclose(upper, model(x), atol=1e-12)


@pytest.mark.parametrize("method", method_names())
def test_a_smaller_set_is_never_looser(method: str, plain: BoundedModule) -> None:
    x = torch.randn(3, 4, dtype=torch.float64)
    widths = []
    for eps in (0.4, 0.2, 0.1, 0.05):
        lower, upper = plain.compute_bounds(x=BoundedTensor(x, PerturbationLpNorm(eps=eps)), method=method)
        widths.append((upper - lower).detach().mean())
    assert widths == sorted(widths, reverse=True)
