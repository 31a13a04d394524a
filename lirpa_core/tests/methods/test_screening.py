"""Parallel lines decide neurons soundly, only such as full rows would decide, and leave the others as they were."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.methods import CROWN, screening
from lirpa_core.methods.screening import Screening


class Residual(nn.Module):
    """Layers of some width with a skip, and an activation that is never decided in between."""

    def __init__(self, width: int, other: type[nn.Module]) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, width), nn.Linear(width, 3)
        self.inner = nn.ModuleList([nn.Linear(width, width) for _ in range(4)])
        self.other = other()

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        x = torch.relu(self.inner[0](x))
        x = torch.relu(x + self.inner[1](torch.relu(self.inner[2](x))))
        result: Tensor = self.last(torch.relu(self.inner[3](self.other(x))))
        return result


def _everything(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Screens however little there is; returns a list that grows with every element decided."""
    decided: list[int] = []
    call = Screening.__call__

    def counted(self, node, elements, interval):
        found, left = call(self, node, elements, interval)
        assert not bool((left & ~elements).any())
        decided.append(int(elements.sum()) - int(left.sum()))
        # What stays open is as it was, and nothing is looser.
        assert torch.equal(found.lower[left], interval.lower.expand_as(found.lower)[left])
        assert torch.equal(found.upper[left], interval.upper.expand_as(found.upper)[left])
        assert bool((found.lower >= interval.lower).all() and (found.upper <= interval.upper).all())
        return found, left

    monkeypatch.setattr(screening, "FEW", 0)
    monkeypatch.setattr(screening, "_WORTH", 0.0)
    monkeypatch.setattr(Screening, "__call__", counted)
    return decided


def _setting(norm: float, other: type[nn.Module], batch: int):
    torch.manual_seed(1)
    model = Residual(24, other).double().requires_grad_(False)
    x = torch.randn(batch, 6, dtype=torch.float64)
    eps = 0.15 if norm == torch.inf else 0.3
    return model, x, BoundedTensor(x, PerturbationLpNorm(norm=norm, eps=eps))


@pytest.mark.parametrize("norm", [torch.inf, 2.0])
@pytest.mark.parametrize("other", [nn.Identity, nn.Tanh, nn.LeakyReLU])
@pytest.mark.parametrize("batch", [1, 3])
def test_bounds_hold_and_are_those_of_full_rows(norm, other, batch, monkeypatch):
    model, x, ball = _setting(norm, other, batch)
    bounded = BoundedModule(model, x)
    monkeypatch.setattr(screening, "FEW", 2**60)
    with torch.no_grad():
        full = bounded.compute_bounds(x=(ball,), method=CROWN(screening=True))
    decided = _everything(monkeypatch)
    with torch.no_grad():
        lower, upper = bounded.compute_bounds(x=(ball,), method=CROWN(screening=True))
    assert sum(decided) > 0
    if batch == 1:  # in a batch, examples with fewer open elements get rows of others into the bargain
        torch.testing.assert_close(lower, full[0], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(upper, full[1], rtol=1e-9, atol=1e-9)
    for z in PerturbationLpNorm(norm=norm, eps=ball.ptb.eps).sample(x, 200):
        y = model(z)
        assert bool((y >= lower - 1e-9).all() and (y <= upper + 1e-9).all())


def test_examples_do_not_depend_on_each_other(monkeypatch):
    model, x, ball = _setting(torch.inf, nn.LeakyReLU, 3)
    _everything(monkeypatch)
    with torch.no_grad():
        lower, upper = BoundedModule(model, x).compute_bounds(x=(ball,), method=CROWN(screening=True))
        for i in range(3):
            one = BoundedTensor(x[i : i + 1], PerturbationLpNorm(eps=0.15))
            low, up = BoundedModule(model, x[i : i + 1]).compute_bounds(
                x=(one,), method=CROWN(screening=True)
            )
            torch.testing.assert_close(low[0], lower[i], rtol=1e-6, atol=1e-9)
            torch.testing.assert_close(up[0], upper[i], rtol=1e-6, atol=1e-9)


def test_gradients_do_not_know_of_it(monkeypatch):
    model, x, ball = _setting(torch.inf, nn.Identity, 2)
    decided = _everything(monkeypatch)
    model.requires_grad_(True)
    lower, _ = BoundedModule(model, x).compute_bounds(x=(ball,), method=CROWN(screening=True))
    lower.sum().backward()
    assert model.first.weight.grad is not None
    assert decided == []


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.LeakyReLU, nn.SiLU])
def test_parallel_lines_lie_around_those_of_the_rule(activation):
    x = torch.randn(2, 6, dtype=torch.float64)
    ball = BoundedTensor(x, PerturbationLpNorm(eps=0.7))
    problem = BoundedModule(nn.Sequential(activation()), x).problem((ball,), rounding="nearest")
    (name,) = problem.calls
    box = problem.hulls()[problem.calls[name].operands[0]]
    rule = problem.rules[name].relax(problem.calls[name], (box,))
    around = screening.Around({})(problem, name, (box,))
    assert around.lower.terms[0] is around.upper.terms[0]
    for t in torch.linspace(0, 1, 11, dtype=torch.float64):
        z = box.lower + t * (box.upper - box.lower)

        def line(affine, z=z):
            value = affine.terms[0].apply(z)
            return value if affine.bias is None else value + affine.bias

        assert bool((line(around.lower) <= line(rule.lower) + 1e-12).all())
        assert bool((line(around.upper) >= line(rule.upper) - 1e-12).all())
