"""Random small networks, every method and norm, attacked by gradient."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.end_to_end.attack import worst_escape
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_testing import few_steps, method_names

#: Total functions of one variable, as a user writes them.
FUNCTIONS: dict[str, Any] = {
    "relu": torch.relu,
    "leaky_relu": lambda t: nn.functional.leaky_relu(t, 0.1),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": nn.functional.gelu,
    "silu": nn.functional.silu,
    "softplus": nn.functional.softplus,
    "elu": nn.functional.elu,
    "hardtanh": nn.functional.hardtanh,
    "abs": torch.abs,
    "sin": torch.sin,
    "square": torch.square,
    "exp": lambda t: torch.exp(t / 4),
    "clamp": lambda t: t.clamp(-0.5, 0.7),
}
STEPS = (
    "function",
    "linear",
    "residual",
    "product",
    "quotient",
    "concatenate",
    "split",
    "maximum",
    "normalize",
)


class RandomNetwork(nn.Module):
    """A chain of steps on vectors of one width, with references to earlier values."""

    def __init__(self, steps: list[tuple[str, str, int]], width: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.steps = steps
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in steps)
        self.wide = nn.Linear(2 * width, width)
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for (kind, name, back), layer in zip(self.steps, self.layers, strict=True):
            h, other = seen[-1], seen[max(0, len(seen) - 1 - back)]
            seen.append(self.step(kind, FUNCTIONS[name], layer, h, other))
        out: Tensor = self.head(seen[-1])
        return out

    def step(self, kind: str, f: Any, layer: nn.Module, h: Tensor, other: Tensor) -> Tensor:
        if kind == "function":
            return f(layer(h))
        if kind == "linear":
            return layer(h)
        if kind == "residual":
            return f(layer(h)) + other - h / 2
        if kind == "product":
            return f(layer(h)) * torch.sigmoid(other)
        if kind == "quotient":
            return layer(h) / (1 + other.abs())
        if kind == "concatenate":
            return self.wide(torch.cat([f(h), other], dim=-1))
        if kind == "split":
            a, b = layer(h).split([1, h.shape[-1] - 1], dim=-1)
            return torch.cat([b, f(a)], dim=-1)
        if kind == "maximum":
            return torch.maximum(layer(h), other)
        return h - h.mean(-1, keepdim=True)


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


@settings(max_examples=30)
@given(
    model=networks,
    norm=st.sampled_from([1.0, 2.0, 3.5, math.inf]),
    eps=st.sampled_from([1e-3, 0.1, 0.7]),
    batch=st.integers(1, 3),
)
def test_no_attack_escapes(model: RandomNetwork, norm: float, eps: float, batch: int) -> None:
    model = model.double()
    width = model.head.in_features
    x = torch.randn(batch, width, dtype=torch.float64, generator=torch.Generator().manual_seed(batch))
    point = BoundedTensor(x, PerturbationLpNorm(norm=norm, eps=eps))
    bounded = BoundedModule(model, x, bound_opts=few_steps())
    for method in method_names():
        with torch.no_grad():
            lower, upper = bounded.compute_bounds(x=point, method=method)
        assert worst_escape(model, point, lower, upper) <= 1e-9 * (1 + float(upper.abs().max())), method


@pytest.mark.parametrize("method", method_names())
def test_a_single_point_is_exact(method: str) -> None:
    steps = [("function", "relu", 0), ("product", "tanh", 1), ("residual", "gelu", 2), ("maximum", "abs", 1)]
    model = RandomNetwork(steps, 4, seed=3).double()
    x = torch.randn(2, 4, dtype=torch.float64)
    point = BoundedTensor(x, PerturbationLpNorm(eps=0.0))
    lower, upper = BoundedModule(model, x).compute_bounds(x=point, method=method)
    assert torch.allclose(lower, model(x), atol=1e-12) and torch.allclose(upper, model(x), atol=1e-12)


@pytest.mark.parametrize("method", method_names())
def test_a_smaller_set_is_never_looser(method: str) -> None:
    steps = [("function", "relu", 0), ("residual", "sigmoid", 1), ("function", "leaky_relu", 0)]
    model = RandomNetwork(steps, 4, seed=4).double()
    x = torch.randn(3, 4, dtype=torch.float64)
    bounded = BoundedModule(model, x, bound_opts=few_steps())
    widths = []
    for eps in (0.4, 0.2, 0.1, 0.05):
        lower, upper = bounded.compute_bounds(x=BoundedTensor(x, PerturbationLpNorm(eps=eps)), method=method)
        widths.append((upper - lower).detach().mean())
    assert widths == sorted(widths, reverse=True)
