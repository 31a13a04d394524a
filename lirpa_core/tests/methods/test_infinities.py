"""Infinite constants mean the same in every method: exact where the value is determined, else refused."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import NonFiniteBoundError
from lirpa_testing import method_names

METHODS = method_names()
INF = torch.inf


class Masked(nn.Module):
    """A linear layer, a function of its output and of a mask of zeros and −∞, and where it fits another layer."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.function = nn.Linear(3, 5), nn.Linear(5, 2), function
        self.register_buffer("mask", torch.tensor([0.0, -INF, 0.0, -INF, 0.0]))

    def forward(self, x: Tensor) -> Tensor:
        y = self.function(self.first(x), self.mask.to(x.dtype))
        return self.last(y) if y.shape[-1] == 5 else y


DETERMINED = {
    "relu": lambda x, m: torch.relu(x + m),
    "relu of a multiple": lambda x, m: torch.relu((x + m) * 0.5),
    "exp": lambda x, m: torch.exp(x + m),
    "sigmoid": lambda x, m: torch.sigmoid(x + m),
    "sigmoid of plus infinity": lambda x, m: torch.sigmoid(x - m),
    "elu": lambda x, m: nn.functional.elu(x + m),
    "clamp": lambda x, m: (x + m).clamp(min=-1.0),
    "softmax by hand": lambda x, m: (x + m).exp() / (x + m).exp().sum(-1, keepdim=True),
    "amax": lambda x, m: (x + m).amax(-1, keepdim=True),
    "cumulative maximum": lambda x, m: torch.cummax(x + m, -1).values,
    "maximum with another": lambda x, m: torch.maximum(x + m, x * 0.5),
    "maximum with the mask": lambda x, m: torch.maximum(x, m),
    "minimum with the mask": lambda x, m: torch.minimum(x, -m),
    "where, selected away": lambda x, m: torch.where(m == 0, x + m, 0.0),
    "where, not a number selected away": lambda x, m: torch.where(m == 0, nn.functional.silu(x + m), 0.0),
    "where, chosen": lambda x, m: torch.relu(torch.where(m == 0, x, -INF)),
    "where, undecided": lambda x, m: torch.exp(torch.where(x > 0, x, -INF)),
    "logsumexp": lambda x, m: torch.logsumexp(x + m, -1, keepdim=True),
    "cumulative logsumexp": lambda x, m: torch.logcumsumexp(x + m, -1),
    "times a positive number": lambda x, m: torch.relu((x + m) * (x.abs() + 1)),
    "bias of a product": lambda x, m: torch.relu(nn.functional.linear(x, torch.ones(5, 5, dtype=x.dtype), m)),
    "a part without": lambda x, m: torch.cat([(x + m)[:, ::2], x[:, :2]], 1),
}
UNDETERMINED = {
    "infinite for every input": lambda x, m: (x + m)[:, 1:],
    "infinite, negated": lambda x, m: torch.relu(m - x)[:, :3] - torch.relu(-(x + m))[:, :3],
    "not a number": lambda x, m: nn.functional.silu(x + m),
    "zero times infinity": lambda x, m: torch.relu((x + m) * 0.0),
    "infinity minus infinity": lambda x, m: (x + m) - (x + m),
}


@cache
def captured(
    function: Callable[[Tensor, Tensor], Tensor], dtype: torch.dtype
) -> tuple[Masked, Tensor, BoundedModule]:
    model = Masked(function).to(dtype)
    x = torch.randn(2, 3, generator=torch.Generator().manual_seed(1), dtype=dtype)
    return model, x, BoundedModule(model, x, bound_opts={"optimize_bound_args": {"iteration": 2}})


def run(function: Callable[[Tensor, Tensor], Tensor], method: str, dtype: torch.dtype, norm: float, C=None):
    model, x, bounded = captured(function, dtype)
    perturbed = BoundedTensor(x, PerturbationLpNorm(norm=norm, eps=0.1))
    return model, x, bounded.compute_bounds((perturbed,), method=method, C=C)


def some(x: Tensor, m: Tensor) -> Tensor:
    return (x + m)[:, :4]


def some_rectified(x: Tensor, m: Tensor) -> Tensor:
    return torch.relu(x + m)[:, :4]


@cache
def values(model: Masked, x: Tensor, norm: float) -> Tensor:
    """Outputs at members of the ball, `[300, B, K]`."""
    change = torch.randn(300, *x.shape, generator=torch.Generator().manual_seed(2), dtype=x.dtype)
    change = change.clamp(-1, 1) if norm == INF else nn.functional.normalize(change, dim=-1)
    with torch.no_grad():
        return model((x + 0.1 * change).flatten(0, 1)).unflatten(0, change.shape[:2])


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", DETERMINED)
@pytest.mark.parametrize(("dtype", "norm"), [(torch.float32, INF), (torch.float64, 2.0)])
def test_a_value_that_is_determined_is_bounded(name, method, dtype, norm):
    model, x, (lower, upper) = run(DETERMINED[name], method, dtype, norm)
    y = values(model, x, norm)
    rounding = 64 * torch.finfo(dtype).eps * (1 + y.abs().max())
    assert (lower <= y.amin(0) + rounding).all() and (y.amax(0) <= upper + rounding).all()
    assert (upper - lower).max() < 1.5


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", UNDETERMINED)
def test_anything_else_is_refused_by_the_same_error(name, method):
    with pytest.raises(NonFiniteBoundError, match="infinite or NaN; the first such node is"):
        run(UNDETERMINED[name], method, torch.float64, INF)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_masked_is_exact(method):
    _, _, (lower, upper) = run(some_rectified, method, torch.float64, INF)
    assert (lower[:, [1, 3]] == 0).all() and (upper[:, [1, 3]] == 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_rows_that_leave_the_infinite_elements_out_are_bounded(method):
    rows = torch.tensor([[[1.0, 0.0, 0.0, 0.0], [1.0, 0.0, -1.0, 0.0]]], dtype=torch.float64).expand(
        2, -1, -1
    )
    model, x, (lower, upper) = run(some, method, torch.float64, INF, rows)
    y = model.first(x)[:, :4].detach()
    expected = torch.stack([y[:, 0], y[:, 0] - y[:, 2]], 1)
    assert (lower < expected).all() and (expected < upper).all() and (upper - lower < 1).all()
