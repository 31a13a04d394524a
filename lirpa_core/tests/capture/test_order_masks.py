"""What topk returns, written back to where it was."""

import pytest
import torch

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm

X = torch.tensor([[0.1, 0.5, -0.3, 0.9], [0.1, 0.12, -0.3, 0.9]], dtype=torch.float64)
METHODS = ("IBP", "CROWN-IBP", "CROWN", "forward", "CROWN-Optimized")


def kept(x):
    values, places = x.topk(2, -1)
    return torch.zeros_like(x).scatter(-1, places, values)


def marked(x):
    return torch.zeros_like(x).scatter(-1, x.topk(2, -1).indices, 1.0)


def called_twice(x):
    return torch.zeros_like(x).scatter(-1, x.topk(2, -1).indices, x.topk(2, -1).values)


def _targets(function):
    return [str(n.target) for n in BoundedModule(function, X).graph.nodes]


@pytest.mark.parametrize("function", [kept, marked, called_twice])
def test_it_is_a_choice(function):
    assert "lirpa.among_topk.default" in _targets(function)


@pytest.mark.parametrize("method", METHODS)
def test_bounds(method):
    bounds = BoundedModule(kept, X).compute_bounds(
        x=(BoundedTensor(X, PerturbationLpNorm(eps=0.05)),), method=method
    )
    expected = (
        torch.tensor([[0, 0.45, 0, 0.85], [0, 0, 0, 0.85]], dtype=torch.float64),
        torch.tensor([[0, 0.55, 0, 0.95], [0.15, 0.17, 0, 0.95]], dtype=torch.float64),
    )
    for found, wanted in zip(bounds, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.zeros_like(x).scatter(-1, x.topk(2, -1).indices, (2 * x).topk(2, -1).values),
        lambda x: torch.zeros_like(x).scatter(-1, x.topk(2, -1).indices, x[:, :2]),
        lambda x: torch.zeros(x.shape[0], 5, dtype=x.dtype).scatter(-1, x.topk(2, -1).indices, 1.0),
    ],
)
def test_other_values_and_other_places_are_not(function):
    assert "lirpa.among_topk.default" not in _targets(function)
