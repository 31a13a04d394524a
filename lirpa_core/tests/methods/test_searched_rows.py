"""Both sides of rows are searched at once, and each is what it is by itself; whatever is chosen, bounds hold."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm

EPS = 0.4


class Written(nn.Module):
    """A small network around a function of two of its layers."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.a, self.b, self.out = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.function(torch.relu(self.a(x)), self.b(x)).reshape(-1, 6))
        return out


FUNCTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "product": lambda a, b: a * b,
    "quotient": lambda a, b: a / (2 + torch.sigmoid(b)),
    "matrix product": lambda a, b: a.reshape(-1, 3, 2) @ b.reshape(-1, 2, 3)[..., :2],
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "amax": lambda a, b: torch.stack([a, b, a - b], -1).amax(-1),
    "logsumexp": lambda a, b: torch.logsumexp(torch.stack([a, b, a - b], -1), -1),
}


@cache
def model_of(name: str, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(3)
    return Written(FUNCTIONS[name]).to(dtype).eval(), torch.randn(2, 4, dtype=dtype)


@cache
def captured(model: nn.Module, x: Tensor) -> BoundedModule:
    return BoundedModule(model, x)


def bounds(
    model: nn.Module, x: Tensor, eps: float = EPS, method: str = "alpha-CROWN", **changes: object
) -> tuple[Tensor, Tensor]:
    options = changes.pop("bound_opts", None)
    bounded = captured(model, x) if options is None else BoundedModule(model, x, bound_opts=options)
    with torch.no_grad():
        found = bounded.compute_bounds(
            x=BoundedTensor(x, PerturbationLpNorm(eps=eps)), method=method, **changes
        )
    return found.lower, found.upper


@pytest.mark.parametrize("name", FUNCTIONS)
def test_tighter_than_crown_and_sound(name: str) -> None:
    model, x = model_of(name)
    lower, upper = bounds(model, x)
    crown = bounds(model, x, method="CROWN")
    assert bool((lower >= crown[0] - 1e-12).all() and (upper <= crown[1] + 1e-12).all())
    assert float((upper - lower).mean()) < 0.97 * float((crown[1] - crown[0]).mean())
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1.0])] * 4).double()
    y = torch.stack([model(x + EPS * sign) for sign in [*signs, *(2 * torch.rand(300, 4).double() - 1)]])
    assert bool((lower <= y.amin(0) + 1e-12).all() and (y.amax(0) <= upper + 1e-12).all())


def test_a_product_is_bounded_by_its_best_mixture() -> None:
    """`x · y` at a slope of `y` that is right for neither of McCormick's planes alone, by a scan of all mixtures."""

    class Product(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x[:, :1] * x[:, 1:]) - 0.6 * x[:, 1:] - 0.7 * x[:, :1]

    x = torch.full((1, 2), 0.5, dtype=torch.float64)
    lower, _ = bounds(Product(), x, eps=0.5)
    mixtures = torch.linspace(0, 1, 10001, dtype=torch.float64)
    # Planes below on the unit square: 0 and x + y − 1; the least value of a plane is at a corner.
    slopes = torch.stack([mixtures - 0.7, mixtures - 0.6])
    best = (slopes.clamp(max=0).sum(0) - mixtures).max()
    assert float(lower) == pytest.approx(float(best), abs=2e-3) and float(lower) <= float(best) + 1e-12


def test_each_side_is_what_it_is_by_itself() -> None:
    model, x = model_of("product")
    both = bounds(model, x)
    torch.testing.assert_close(bounds(model, x, bound_upper=False)[0], both[0])
    torch.testing.assert_close(bounds(model, x, bound_lower=False)[1], both[1])
    shared = {"optimize_bound_args": {"use_shared_alpha": True}}
    both = bounds(model, x, bound_opts=shared)
    torch.testing.assert_close(bounds(model, x, bound_opts=shared, bound_upper=False)[0], both[0])
    torch.testing.assert_close(bounds(model, x, bound_opts=shared, bound_lower=False)[1], both[1])


@pytest.mark.parametrize("eps", [0.0, 1e-30, 1e15])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_extreme_boxes_in_single_precision(name: str, eps: float) -> None:
    model, x = model_of(name, torch.float32)
    lower, upper = bounds(model, x, eps=eps)
    exact = copy.deepcopy(model).double()
    assert not bool(lower.isnan().any() or upper.isnan().any())
    with torch.no_grad():
        for share in (-1.0, 0.0, 1.0):
            moved = (x.double() + share * eps).clamp((x - eps).double(), (x + eps).double())
            y = exact(moved)
            assert bool(((lower.double() <= y) & (y <= upper.double())).all())
