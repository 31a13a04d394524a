"""The forward traversal: affine functions hold, are no looser than intervals, and the same whichever way they are found."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.methods import forward, forward_traversal, intervals
from lirpa_core.problem.problem import Problem


def test_forward_bounds_hold_and_are_no_looser_than_intervals(setting: Any) -> None:
    plain = intervals(setting.problem)
    found, affine = forward(setting.problem, wanted=(setting.node,))
    assert set(affine) == {setting.node}
    for name, interval in found.items():
        assert bool((interval.lower >= plain[name].lower - 1e-9).all())
        assert bool((interval.upper <= plain[name].upper + 1e-9).all())
    form = affine[setting.node].lower
    ((_, A),) = form.coefficients.items()
    for z, y in zip(setting.samples, setting.outputs, strict=True):
        assert bool((A.dot(z.unsqueeze(1)) + form.bias <= y.reshape(4, -1).T + 1e-9).all())


class Skips(nn.Module):
    """Two linear layers in a row, two activations, and ways that meet before and behind the first of them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner, self.skip = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(5, 8)
        self.last = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.first(x)) + self.skip(x)
        y = torch.tanh(self.inner(y)) + y
        result: Tensor = self.last(torch.relu(y))
        return result


def _problem(norm: float, rounding: Any) -> tuple[nn.Module, BoundedTensor, Problem, str]:
    torch.manual_seed(3)
    model = Skips().double().requires_grad_(False)
    x = BoundedTensor(torch.randn(3, 5, dtype=torch.float64), PerturbationLpNorm(norm=norm, eps=0.2))
    bounded = BoundedModule(model, x)
    (output,) = bounded.graph.outputs
    return model, x, bounded.problem((x,), rounding=rounding), str(output)


@pytest.mark.parametrize("rounding", ["nearest", "outward"])
@pytest.mark.parametrize("norm", [torch.inf, 2.0])
def test_a_backward_pass_gives_what_images_of_unit_vectors_give(
    norm: float, rounding: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x, problem, output = _problem(norm, rounding)
    found = {}
    for worth in (0, 2**40):  # never, and always
        monkeypatch.setattr(forward_traversal, "_WORTH", worth)
        found[worth] = forward(problem, wanted=(output,))
    for name, interval in found[0][0].items():
        other = found[2**40][0][name]
        assert bool((other.lower >= interval.lower - 1e-9).all())
        assert bool((other.upper <= interval.upper + 1e-9).all())
    for intervals_, affine in found.values():
        form = affine[output]
        for z in PerturbationLpNorm(norm=norm, eps=0.2).sample(x.as_subclass(Tensor), 50):
            y = model(z).unsqueeze(1)  # [B, *S], S with the dimension of one example
            box = intervals_[output]
            assert bool((box.lower <= y).all() and (y <= box.upper).all())
            for side, sign in ((form.lower, 1), (form.upper, -1)):
                ((_, A),) = side.coefficients.items()
                value = A.dot(z.unsqueeze(1)) + side.bias  # [3, B]
                assert bool((sign * (value.T - y[:, 0]) <= 1e-12).all())


def test_nodes_whose_functions_are_not_concretized_lose_nothing() -> None:
    _, _, problem, _ = _problem(torch.inf, "nearest")
    found, _ = forward(problem)
    walk = forward_traversal._Walk.of(problem, found, forward_traversal.by_rule)
    skipped = 0
    for name in problem.calls:
        walk.visit(name)
        if walk.tells_nothing(name):
            exact = walk.concretized(name)
            assert bool((exact.lower <= found[name].lower + 1e-12).all())
            assert bool((exact.upper >= found[name].upper - 1e-12).all())
            skipped += 1
    assert skipped == 3
