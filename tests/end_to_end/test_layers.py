"""Recurrent and attention layers of PyTorch, as written, bounded by decomposition alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.plugins import build_registry
from lirpa_testing import few_steps
from lirpa_testing.methods.attack import worst_escape


class Recurrent(nn.Module):
    """A recurrent layer and a head on its last output."""

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.rnn = kind(3, 4, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.rnn(x)[0][:, -1])
        return out


class Encoder(nn.Module):
    """One encoder layer, its layer norms left out or kept."""

    def __init__(self, norm: bool) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        if not norm:
            self.layer.norm1, self.layer.norm2 = nn.Identity(), nn.Identity()  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x).mean(1)
        return out


MODELS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "lstm": (lambda: Recurrent(nn.LSTM), (4, 3)),
    "gru": (lambda: Recurrent(nn.GRU), (4, 3)),
    "rnn": (lambda: Recurrent(nn.RNN), (4, 3)),
    "encoder": (lambda: Encoder(norm=False), (4, 8)),
    "encoder with layer norm": (lambda: Encoder(norm=True), (4, 8)),
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.thorough) if n == "lstm" else n for n in MODELS]
)
def test_layers_are_bounded_soundly(name: str, methods: tuple[str, ...]) -> None:
    make, shape = MODELS[name]
    torch.manual_seed(0)
    # In evaluation mode an encoder layer asks its layer norms for their eps, which an Identity has not;
    # without dropout the two modes compute the same.
    model = make().double().train(name == "encoder")
    x = torch.randn(2, *shape, dtype=torch.float64)
    core = build_registry(disabled=("vision", "nlp", "perturbations"))
    bounded = BoundedModule(model, x, registry=core, bound_opts=few_steps())
    for eps in (1e-3, 0.05):
        point = BoundedTensor(x, PerturbationLpNorm(eps=eps))
        for method in methods:
            with torch.no_grad():
                lower, upper = bounded.compute_bounds(x=point, method=method)
            assert worst_escape(model, point, lower, upper, samples=24, steps=4) <= 1e-9, method
