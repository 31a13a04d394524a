"""One budget over several inputs: every way to spend it, enumerated."""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationJoint
from lirpa_perturbations import PerturbationL0Norm, PerturbationLinearConstraints, PerturbationSynonym
from lirpa_testing import method_names

F64 = torch.float64


class Difference(nn.Module):
    """A linear function of two inputs, on which all methods must be exact."""

    def __init__(self, left: int, right: int) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(left, 3), nn.Linear(right, 3)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.left(x.flatten(1)) - self.right(y.flatten(1))


class Deep(Difference):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.tanh(super().forward(x, y)) @ self.left.weight[:, :2]


def synonyms_of_pairs(base: PerturbationSynonym, joined: Tensor, budget: int) -> Tensor:
    """Every sentence `[n, B, T, D]` within the budget."""
    found = []
    choices = [range(-1, base.substitutes.shape[2])] * joined.shape[1]
    for chosen in product(*choices):
        if sum(c >= 0 for c in chosen) <= budget:
            z = joined.clone()
            for t, c in enumerate(chosen):
                z[:, t] = z[:, t] if c < 0 else base.substitutes[:, t, c]
            found.append(z)
    return torch.stack(found)


def l0_pairs(joined: Tensor, k: int) -> Tensor:
    found = [joined]
    for chosen in combinations(range(joined.shape[1]), k):
        for corner in product((0.0, 1.0), repeat=k):
            z = joined.clone()
            z[:, list(chosen)] = torch.tensor(corner, dtype=F64)
            found.append(z)
    return torch.stack(found)


def case(brute: Any, name: str) -> tuple[PerturbationJoint, Tensor, Tensor, Tensor]:
    """A joint set, its two inputs, and all of its extreme members `[n, B, ...]`."""
    if name == "synonyms":
        x, y = brute.randn(2, 2, 3), brute.randn(2, 3, 3, seed=1)
        joint = PerturbationJoint(PerturbationSynonym(2, brute.randn(2, 5, 2, 3, seed=2)), dim=0)
        return joint, x, y, synonyms_of_pairs(joint.base, joint.join(x, y), 2)
    x, y = brute.rand(2, 3), brute.rand(2, 2, 2, seed=1)
    joint = PerturbationJoint(PerturbationL0Norm(eps=2, group=()))
    return joint, x, y, l0_pairs(joint.join(x, y), 2)


@pytest.mark.parametrize("name", ["synonyms", "pixels"])
def test_is_exact_against_every_member(brute: Any, name: str) -> None:
    joint, x, y, members = case(brute, name)
    torch.manual_seed(0)
    sizes = (x[0].numel(), y[0].numel())
    for model in (Difference(*sizes).double(), Deep(*sizes).double()):
        bounded = BoundedModule(model, (x, y))
        parts = joint.split(members, x, y)
        out = model(*(p.flatten(0, 1) for p in parts)).unflatten(0, (-1, 2))
        for method in method_names():
            inputs = (BoundedTensor(x, joint), BoundedTensor(y, joint))
            lower, upper = bounded.compute_bounds(x=inputs, method=method)
            if type(model) is Difference:
                torch.testing.assert_close(lower, out.amin(0))
                torch.testing.assert_close(upper, out.amax(0))
            assert bool((lower <= out + 1e-9).all() and (out <= upper + 1e-9).all()), method


def test_constraints_between_inputs(brute: Any) -> None:
    """`x ≤ y`, element by element: the difference is never positive."""
    x, y = brute.rand(2, 3) / 2, 0.5 + brute.rand(2, 3, seed=1) / 2
    A = torch.cat([torch.eye(3), -torch.eye(3)], 1).double()
    joint = PerturbationJoint(PerturbationLinearConstraints(A, torch.zeros(3, dtype=F64)))

    class Gap(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x - y

    bounded = BoundedModule(Gap(), (x, y))
    lower, upper = bounded.compute_bounds(x=(BoundedTensor(x, joint), BoundedTensor(y, joint)))
    torch.testing.assert_close(upper, torch.zeros_like(x), atol=1e-6, rtol=0)
    torch.testing.assert_close(lower, -torch.ones_like(x), atol=1e-6, rtol=0)
