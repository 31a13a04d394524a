"""The methods under `torch.compile(fullgraph=True)`: no graph break, and the bounds of eager execution."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.linear.coefficients import DenseCoefficients
from lirpa_core.linear.interval import Interval
from lirpa_core.methods import IBP, Problem, Relaxations, backward
from lirpa_core.plugins import default_registry
from lirpa_core.problem.binding import bind_plain
from lirpa_core.problem.inputs import PerturbedInput
from lirpa_core.problem.perturbed_graph import perturbed_graph
from lirpa_core.rules.call import Const

pytestmark = pytest.mark.slow

BATCH = 3


class Mlp:
    """A small network, the perturbed part of its graph, and its parameters by node name."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 4))
        self.x = torch.rand(BATCH, 5)
        self.bounded = BoundedModule(self.model, self.x)
        graph, self.registry = self.bounded.graph, default_registry()
        (self.input,), (self.output,) = graph.inputs, graph.outputs
        self.part = perturbed_graph(
            graph, self.registry, frozenset({self.input}), frozenset({self.output}), lambda *_: ""
        )
        live = dict(self.model.named_parameters())
        self.weights = {n.name: live[n.path].detach() for n in graph.nodes if n.path in live}

    def problem(self, x: Tensor, weights: dict[str, Tensor], ptb: PerturbationLpNorm) -> Problem:
        perturbed = {self.input: PerturbedInput(self.input, x, ptb, batch_dim=0)}
        constants = {n: Const(w) for n, w in weights.items()}
        return bind_plain(self.part, self.registry, perturbed, constants, BATCH)


def interval_bounds(problem, wanted=()):
    return IBP().intermediate_bounds(problem, wanted).intervals


@pytest.fixture(scope="module")
def mlp() -> Mlp:
    return Mlp()


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def whole(function: Callable[..., object]) -> Callable[..., object]:
    """Compiled as one graph; the backend runs it as it is, so that no C++ compiler is needed."""
    return torch.compile(function, fullgraph=True, backend="aot_eager", dynamic=False)


@pytest.mark.parametrize("norm", [float("inf"), 2.0])
def test_interval_bounds(mlp, norm):
    ptb = PerturbationLpNorm(eps=0.1, norm=norm)

    def ibp(x, weights):
        found = interval_bounds(mlp.problem(x, weights, ptb), (mlp.output,))[mlp.output]
        return found.lower, found.upper

    compiled = whole(ibp)(mlp.x, mlp.weights)
    torch.testing.assert_close(compiled, ibp(mlp.x, mlp.weights))
    eager = mlp.bounded.compute_bounds(x=(BoundedTensor(mlp.x, ptb),), method="IBP")
    torch.testing.assert_close(compiled[0].flatten(1), eager.lower.detach())
    torch.testing.assert_close(compiled[1].flatten(1), eager.upper.detach())


@pytest.mark.parametrize("norm", [float("inf"), 2.0])
def test_final_backward_pass(mlp, norm):
    ptb = PerturbationLpNorm(eps=0.1, norm=norm)
    C = torch.randn(BATCH, 2, 4)

    def pulled(x, weights, C, lower, upper):
        problem = mlp.problem(x, weights, ptb)
        inner = {name: Interval(lower[name], upper[name]) for name in lower}
        rows = DenseCoefficients(C.transpose(0, 1).reshape(2, BATCH, 1, 4))
        form = backward(problem, mlp.output, rows, Relaxations(problem, inner), both=True)
        value = problem.minimum(form)
        return value[:2].T, -value[2:].T

    inner = interval_bounds(mlp.problem(mlp.x, mlp.weights, ptb))
    lower = {name: interval.lower for name, interval in inner.items()}
    upper = {name: interval.upper for name, interval in inner.items()}
    compiled = whole(pulled)(mlp.x, mlp.weights, C, lower, upper)
    torch.testing.assert_close(compiled, pulled(mlp.x, mlp.weights, C, lower, upper))
    eager = mlp.bounded.compute_bounds(x=(BoundedTensor(mlp.x, ptb),), C=C, method="CROWN-IBP")
    # The façade also intersects with interval bounds.
    assert bool((eager.lower >= compiled[0] - 1e-5).all())
    assert bool((eager.upper <= compiled[1] + 1e-5).all())


def test_gradient_of_compiled_bounds(mlp):
    ptb = PerturbationLpNorm(eps=0.1)

    def width(x, weights):
        found = interval_bounds(mlp.problem(x, weights, ptb), (mlp.output,))[mlp.output]
        return (found.upper - found.lower).sum()

    weights = {name: w.clone().requires_grad_() for name, w in mlp.weights.items()}
    expected = torch.autograd.grad(width(mlp.x, weights), list(weights.values()), allow_unused=True)
    found = torch.autograd.grad(whole(width)(mlp.x, weights), list(weights.values()), allow_unused=True)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(torch.zeros(()) if a is None else a, torch.zeros(()) if b is None else b)
