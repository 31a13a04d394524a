"""What is computed twice from the same is one node; what only looks the same stays two."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.capture.captured_model import CapturedModel
from lirpa_core.errors import TrainingModeWarning
from lirpa_core.plugins import default_registry

X = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Twice(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.f, self.g = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 3)).double(), nn.ReLU()
        self.h = nn.ReLU()

    def forward(self, x):
        return self.f(x) - 0.9 * self.f(x)


def operators(function, **kwargs):
    graph = BoundedModule(function, X, **kwargs).graph
    return [str(n.target) for n in graph.nodes if n.target is not None]


def test_a_module_called_twice_is_computed_once():
    torch.manual_seed(0)
    model = Twice()
    bounded = BoundedModule(model, X)
    assert sum("linear" in str(n.target) for n in bounded.graph.nodes) == 2
    ball = BoundedTensor(X, PerturbationLpNorm(eps=0.5))
    lower, upper = bounded.compute_bounds(x=(ball,), method="CROWN")
    low, up = BoundedModule(lambda x: 0.1 * model.f(x), X).compute_bounds(x=(ball,), method="CROWN")
    assert bool((upper - lower <= 1.3 * (up - low)).all())  # as two, seven times as wide


@pytest.mark.parametrize(
    ("function", "left"),
    [
        (lambda x: torch.sin(x + 1) * torch.cos(1 + x), 4),
        (lambda x: torch.sin(x * x.exp()) + torch.cos(x.exp() * x), 5),
        (lambda x: torch.maximum(x, x.sin()) - torch.maximum(x.sin(), x).exp(), 4),
        (lambda x: x.split(1, -1)[0].sin() + x.split(1, -1)[0].cos(), 4),
        (lambda x: torch.add(x, x.sin(), alpha=2).exp() - torch.add(x.sin(), x, alpha=2), 5),
        (lambda x: F.leaky_relu(x, 0.1) - F.leaky_relu(x, 0.2), 3),
    ],
)
def test_how_many_are_left(function, left):
    assert len(operators(function, batch_dims=None)) == left


def test_dropouts_draw_their_own_masks():
    class Drops(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Dropout(0.5), nn.Dropout(0.5)

        def forward(self, x):
            return self.one(x) - self.two(x)

    torch.manual_seed(0)
    bounded = BoundedModule(Drops().train(), X)
    with pytest.warns(TrainingModeWarning):
        lower, upper = bounded.compute_bounds(
            x=(BoundedTensor(X, PerturbationLpNorm(eps=0.5)),), method="CROWN"
        )
    assert float((upper - lower).max()) > 0.5


def test_a_tensor_that_is_read_twice_from_elsewhere_is_one():
    layer = nn.Linear(3, 3).double().requires_grad_(False)
    assert len(operators(lambda x: LAYERS[0](x) - LAYERS[0](x).exp())) == 3
    assert len(operators(lambda x: layer(x) - layer(x).exp())) == 3


LAYERS = [nn.Linear(3, 3).double().requires_grad_(False)]


def test_modules_whose_work_is_done_already_are_found_by_name():
    class Three(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.ReLU(), nn.ReLU(), nn.Dropout()

        def forward(self, x):
            return self.a(x) + self.c(self.b(x))

    graph = BoundedModule(Three().eval(), X).graph
    assert graph.by_module["a"] == graph.by_module["b"] == graph.by_module["c"] == "relu"


def test_types_that_round_and_models_as_executed_keep_both():
    def function(x):
        return torch.sin(x) - torch.sin(x)

    captured = CapturedModel.of(function, X, None, "auto", None, default_registry())
    assert len(captured.graph(default_registry()).nodes) == 3
    assert len(captured.graph(default_registry(), executed=True).nodes) == 4
    graph = BoundedModule(lambda x: function(x.bfloat16()).double(), X).graph
    assert sum("sin" in str(n.target) for n in graph.nodes) == 2
