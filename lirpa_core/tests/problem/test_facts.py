"""What follows from which operands are perturbed, on graphs whose facts are plain to see."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lirpa_core import BoundedTensor, PerturbationLpNorm, functional
from lirpa_core.problem.facts import Facts


class Net(nn.Module):
    """`relu(W x + b)`, a sum with the transposed other half of it, and a reader of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.layer(x).relu()
        return h.reshape(-1, 2, 2).mT.reshape(-1, 4) + 2 * x


def _facts(model: nn.Module, x: Tensor) -> tuple[Facts, list[str]]:
    captured = functional.capture(model, x)
    problem = functional.bind(captured, BoundedTensor(x, PerturbationLpNorm(eps=0.1)))
    return problem.facts, [f"{name}:{problem.graph[name].target}" for name in problem.calls]


def _named(calls: list[str], part: str) -> str:
    (found,) = [call.split(":")[0] for call in calls if part in call.split(":")[1]]
    return found


def test_users_order_and_what_needs_intervals() -> None:
    facts, calls = _facts(Net(), torch.zeros(3, 4))
    linear, relu, add = (_named(calls, part) for part in ("linear", "relu", "add"))
    assert facts.reversed_order[0] == add
    assert facts.users[linear] == (relu,)
    assert facts.needs_interval[relu] == (True,)
    assert facts.needs_interval[add] == (False, False)
    assert relu not in facts.affine_operators
    assert linear in facts.affine
    assert add in facts.affine_operators - facts.affine


def test_rounding_is_charged_once() -> None:
    facts, calls = _facts(Net(), torch.zeros(3, 4))
    linear, relu = _named(calls, "linear"), _named(calls, "relu")
    assert facts.charged_by_users == {linear}
    assert facts.charged_operands == {relu: (linear,)}
    moved = [
        call.split(":")[0] for call in calls if "view" in call or "reshape" in call or "transpose" in call
    ]
    assert moved, "the rearrangements are part of the graph"
    assert facts.free_of_rounding.issuperset(moved)
    assert facts.free_of_rounding.isdisjoint({linear, relu})


class Cast(nn.Module):
    """A layer in float64 behind one in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).double())


def test_types_of_bounds_and_the_coarsest_where_coefficients_change_theirs() -> None:
    facts, calls = _facts(Cast(), torch.zeros(1, 2))
    cast = _named(calls, "to")
    layers = [call.split(":")[0] for call in calls if "linear" in call]
    assert [facts.dtypes[name] for name in layers] == [torch.float32, torch.float64]
    assert facts.dtypes[cast] == torch.float64
    assert facts.coarsest[cast] == torch.float32
    assert facts.coarsest[layers[1]] == torch.float64
