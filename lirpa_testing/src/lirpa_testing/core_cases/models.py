"""Small models on which every method is tried: chains, residual connections, products, quotients, maxima."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lirpa_testing.conformance.declarations import ConformanceCases

aten = torch.ops.aten


class _Network(nn.Module):
    """Two layers, with something between them."""

    def __init__(self, between: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(0)
            self.first, self.last = nn.Linear(3, 6), nn.Linear(6, 2)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.between(self.first(x)))
        return out


def declare(cases: ConformanceCases) -> None:
    """Declare the models."""
    x = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3)

    def add(name: str, between: Callable[[Tensor], Tensor], *covers: object) -> None:
        cases.model(name, lambda: _Network(between), x, covers=covers)  # type: ignore[arg-type]

    add("ReLU", torch.relu, aten.relu.default)
    add("tanh and residual connection", lambda h: h / 2 + torch.tanh(h), aten.tanh.default)
    add("product", lambda h: torch.sigmoid(h) * h.flip(-1), aten.mul.Tensor)
    add("quotient", lambda h: h.flip(-1) / (1 + h.abs()), aten.reciprocal.default)
    add("maximum", lambda h: torch.maximum(h, h.flip(-1)), aten.maximum.default)
    cases.model(
        "values at their own order",
        lambda: _Network(_in_order),
        x,
        covers=[aten.sort.default],
        fuses=[aten.gather.default],
    )


def _in_order(h: Tensor) -> Tensor:
    """Sorted values, taken by their positions."""
    return h.gather(-1, h.argsort(-1))
