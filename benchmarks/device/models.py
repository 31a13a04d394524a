"""The models of the agreement with the CPU: twelve, that use different rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.against.networks import Recurrent, Transformer, zoo


class Gated(nn.Module):
    """A feed-forward layer with a gate, as in SwiGLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.rise, self.fall = nn.Linear(width, 4 * width), nn.Linear(2 * width, 4)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.rise(x).chunk(2, -1)
        result: Tensor = self.fall(F.silu(gate) * value)
        return result


class GatedRecurrent(nn.Module):
    """A GRU and a linear head on its last output."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.layer, self.head = nn.GRU(inputs, hidden, batch_first=True), nn.Linear(hidden, 4)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.layer(x)[0][:, -1])
        return result


@dataclass(frozen=True)
class Model:
    """A model and its inputs.

    Attributes:
        make: Builds it; its argument scales the widths.
        shape: Of one example, for a scale.
        eps: Radius of the L∞ ball.
    """

    make: Callable[[int], nn.Module]
    shape: Callable[[int], tuple[int, ...]]
    eps: float = 0.02

    def build(self, scale: int, dtype: torch.dtype, batch: int = 3) -> tuple[nn.Module, Tensor]:
        """The model with random weights, in evaluation mode, and inputs `[batch, *shape]`, on the CPU."""
        torch.manual_seed(0)
        model = self.make(scale).to(dtype).eval().requires_grad_(False)
        return model, torch.rand(batch, *self.shape(scale), dtype=torch.float64).to(dtype)


def _mlp(activation: Callable[[], nn.Module]) -> Callable[[int], nn.Module]:
    return lambda s: nn.Sequential(
        nn.Linear(8 * s, 16 * s), activation(), nn.Linear(16 * s, 16 * s), activation(), nn.Linear(16 * s, 4)
    )


def _pooled(pool: Callable[[], nn.Module]) -> Callable[[int], nn.Module]:
    return lambda s: nn.Sequential(
        nn.Conv2d(2, 2 * s, 3, 1, 1), nn.BatchNorm2d(2 * s), nn.ReLU(), pool(),
        nn.Conv2d(2 * s, 2 * s, 3, 1, 1, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(2 * s * (2 * s) ** 2, 4),
    )  # fmt: skip


def _normed(s: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(8, 8 * s), nn.LayerNorm(8 * s), nn.ReLU(), nn.Linear(8 * s, 4), nn.Softmax(-1)
    )


MODELS: dict[str, Model] = {
    "MLP, ReLU": Model(_mlp(nn.ReLU), lambda s: (8 * s,)),
    "MLP, tanh": Model(_mlp(nn.Tanh), lambda s: (8 * s,)),
    "MLP, GELU": Model(_mlp(nn.GELU), lambda s: (8 * s,)),
    "CNN": Model(lambda s: zoo().small_cnn(size=8 * s), lambda s: (1, 8 * s, 8 * s)),
    "CNN, batch norm, average pool": Model(_pooled(lambda: nn.AvgPool2d(2)), lambda s: (2, 4 * s, 4 * s)),
    "CNN, batch norm, max pool": Model(_pooled(lambda: nn.MaxPool2d(2)), lambda s: (2, 4 * s, 4 * s)),
    "ResNet-2B": Model(
        lambda s: zoo().resnet_2b(size=8 * s, width=0.25 * s), lambda s: (3, 8 * s, 8 * s), 1 / 255
    ),
    "LSTM": Model(lambda s: Recurrent(4 * s, 4 * s, 4), lambda s: (1 + s, 4 * s)),
    "GRU": Model(lambda s: GatedRecurrent(4 * s, 4 * s), lambda s: (1 + s, 4 * s)),
    "transformer": Model(lambda s: Transformer(8 * s, 1), lambda s: (4, 8 * s), 1e-3),
    "SwiGLU": Model(lambda s: Gated(8 * s), lambda s: (8 * s,)),
    "layer norm, softmax": Model(_normed, lambda s: (8,)),
}
