"""A function is bounded like the module that calls it, with the parameters of the modules that it holds."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import CaptureError, LirpaError

x = torch.rand(2, 3, generator=torch.Generator().manual_seed(0)).double() - 0.5


def layer() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 4).double()


def over(net: nn.Module) -> Callable[[Tensor], Tensor]:
    """A closure."""
    return lambda z: F.relu(net(z))


FUNCTIONS: dict[str, Callable[[], Any]] = {
    "builtin": lambda: torch.relu,
    "lambda": lambda: lambda z: z.relu() * 2,
    "partial": lambda: functools.partial(torch.clamp, min=0.0),
    "method": lambda: nn.Sequential(layer(), nn.ReLU()).forward,
    "closure": lambda: over(layer()),
    "partial of a module": lambda: functools.partial(lambda net, z: net(z).tanh(), layer()),
    "vmap": lambda: torch.func.vmap(lambda z: z.relu().sum()),
    "vmap inside": lambda: lambda z: torch.func.vmap(lambda one: one.tanh() * 2)(z),
    "jvp inside": lambda: lambda z: torch.func.jvp(torch.tanh, (z,), (torch.ones_like(z),))[1],
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("method", ["IBP", "CROWN"])
def test_bounds_hold(name: str, method: str) -> None:
    function = FUNCTIONS[name]()
    lower, upper = BoundedModule(function, x).compute_bounds(
        BoundedTensor(x, PerturbationLpNorm(eps=0.2)), method=method
    )
    moves = torch.rand(50, *x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1)) * 0.4 - 0.2
    for move in moves:
        value = function(x + move)
        assert bool((lower <= value).all() and (value <= upper).all())


@pytest.mark.parametrize("name", ["method", "closure", "partial of a module"])
def test_parameters_are_the_models(name: str) -> None:
    function = FUNCTIONS[name]()
    bounded = BoundedModule(function, x)
    weight, bias = bounded.parameters()
    point = BoundedTensor(x, PerturbationLpNorm(eps=0.1))
    before = bounded.compute_bounds(point)
    with torch.no_grad():
        bias.add_(1)
    after = bounded.compute_bounds(point)
    assert weight.shape == (4, 3) and not torch.equal(after.upper, before.upper)
    assert bool((after.lower <= function(x)).all() and (function(x) <= after.upper).all())


@pytest.mark.parametrize(
    ("source", "advice"),
    [
        ([nn.Linear(3, 2), nn.ReLU()], r"Sequential\(\*modules\)"),
        (nn.Linear(3, 2).state_dict(), "load_state_dict"),
        (nn.Linear, r"instance: Linear\("),
        (3.0, "readers are"),
    ],
)
def test_what_is_no_model_is_told_what_to_do(source: object, advice: str) -> None:
    with pytest.raises(CaptureError, match=advice):
        BoundedModule(source, x)


def test_a_refusal_names_the_line_of_the_function():
    def function(z: Tensor) -> Tensor:
        y = 2 * z
        return torch.linalg.eigvals(y.reshape(-1, 1, 3).expand(-1, 3, 3)).abs()  # this line

    with pytest.raises(LirpaError, match=r"test_functions\.py:\d+ `return torch\.linalg\.eigvals"):
        BoundedModule(function, x).compute_bounds(x=(BoundedTensor(x, PerturbationLpNorm(eps=0.1)),))
