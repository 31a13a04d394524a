"""Gradients of bounds by weights, inputs and radius are central differences, for every method and kind of rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_testing import method_names


def _attention(h: Tensor) -> Tensor:
    q = h.view(-1, 2, 3)
    return F.scaled_dot_product_attention(q, q.flip(-1), q * 2)


#: What stands behind two layers, on six numbers.
HEADS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "gelu": F.gelu,
    "sine": lambda h: torch.sin(2 * h),
    "square": lambda h: h.square(),
    "absolute value": lambda h: h.abs(),
    "softmax": lambda h: torch.softmax(2 * h, -1),
    "logarithm of softmax": lambda h: torch.log_softmax(h, -1),
    "logarithm of a sum": lambda h: torch.logsumexp(h, -1, keepdim=True),
    "product": lambda h: h * h.flip(-1) + h,
    "quotient": lambda h: h / (h.square().sum(-1, keepdim=True) + 1),
    "running product": lambda h: h.cumprod(-1),
    "matrix product": lambda h: h.view(-1, 2, 3) @ h.view(-1, 3, 2),
    "layer norm": lambda h: F.layer_norm(h, (6,)),
    "rms norm": lambda h: F.rms_norm(h, (6,)),
    "attention": _attention,
    "pooling": lambda h: F.max_pool1d(h.unsqueeze(1), 2),
    "SwiGLU": lambda h: F.silu(h) * h.flip(-1),
    "GEGLU": lambda h: F.gelu(h) * h.roll(2, -1),
    "largest": lambda h: h.amax(-1, keepdim=True),
}


#: Recurrent layers over three pairs of numbers.
RECURRENT: dict[str, type[nn.RNNBase]] = {"LSTM": nn.LSTM, "GRU": nn.GRU}


class Recurrent(nn.Module):
    """A recurrent layer over three pairs of numbers."""

    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.layer = kind(2, 3, batch_first=True)

    def forward(self, h: Tensor) -> Tensor:
        return self.layer(h.view(-1, 3, 2))[0]


class Network(nn.Module):
    """Two layers and a head."""

    def __init__(self, head: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 6)
        self.head = HEADS[head] if head in HEADS else Recurrent(RECURRENT[head])

    def forward(self, x: Tensor) -> Tensor:
        h = self.second(torch.tanh(self.first(x))) * 1.5
        return self.head(h).flatten(1)


@pytest.mark.parametrize(
    "head", [*HEADS, *[pytest.param(name, marks=pytest.mark.thorough) for name in RECURRENT]]
)
def test_gradients_are_central_differences(head: str, methods: tuple[str, ...]) -> None:
    model = Network(head).double().eval()
    torch.manual_seed(1)
    x = torch.rand(2, 4, dtype=torch.float64)
    bounded = BoundedModule(model, x, {"tripwire": False})
    for method in (m for m in methods if m in method_names(optimized=False)):
        eps = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
        moving = x.clone().requires_grad_()
        variables = [eps, moving, *model.parameters()]

        def value(method: str = method, eps: Tensor = eps, moving: Tensor = moving) -> Tensor:
            ball = BoundedTensor(moving, PerturbationLpNorm(eps=eps))
            lower, upper = bounded.compute_bounds(x=ball, method=method)
            weights = torch.linspace(1, 2, lower.shape[1], dtype=torch.float64)
            return (upper * weights - lower * weights.flip(0)).sum()

        gradients = torch.autograd.grad(value(), variables)
        for part in (slice(0, 1), slice(1, None)):
            steps = [torch.randn_like(v) for v in variables[part]]
            expected = sum(
                [float((g * s).sum().detach()) for g, s in zip(gradients[part], steps, strict=True)]
            )
            size = sum([float(g.square().sum()) for g in gradients[part]]) ** 0.5
            found = _difference(value, variables[part], steps)
            assert found == pytest.approx(expected, rel=1e-5, abs=1e-5 * size), (method, part)


def _difference(value: Callable[[], Tensor], variables: Sequence[Tensor], steps: Sequence[Tensor]) -> float:
    h, ends = 1e-6, []
    for move in (h, -2 * h, h):
        with torch.no_grad():
            for v, s in zip(variables, steps, strict=True):
                v += move * s
        ends.append(float(value().detach()))
    return (ends[0] - ends[1]) / (2 * h)
