"""The networks and inputs of the comparison, in plain PyTorch, the same for every version of lirpa."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

_ROOT = Path(__file__).parents[2]
_ZOO = _ROOT / "examples" / "vision" / "models" / "__init__.py"
#: Names a file with trained weights.
VARIABLE = "LIRPA_BENCHMARK_WEIGHTS"
#: What `python -m benchmarks.against.train` writes.
MADE = _ROOT / "build" / "benchmarks" / "weights.pt"
_USUAL = (_ROOT.parent / "shared" / "reference" / "cases.pt", MADE)


class Recurrent(nn.Module):
    """An LSTM and a linear head on its last output."""

    def __init__(self, inputs: int, hidden: int, classes: int = 10) -> None:
        super().__init__()
        self.layer, self.head = nn.LSTM(inputs, hidden, batch_first=True), nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.layer(x)[0][:, -1])
        return result


class Transformer(nn.Module):
    """Encoder layers with layer norm and four heads, the mean over tokens, a linear head."""

    def __init__(self, width: int, layers: int, classes: int = 2) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.layers(x).mean(1))
        return result


def mlp(*sizes: int) -> nn.Module:
    """Linear layers of these sizes with ReLUs between them."""
    layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


@cache
def zoo() -> ModuleType:
    """The models of the vision example, which need nothing but PyTorch."""
    if "models" not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            "models", _ZOO, submodule_search_locations=[str(_ZOO.parent)]
        )
        assert spec is not None and spec.loader is not None
        sys.modules["models"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["models"])
    return sys.modules["models"]


@dataclass(frozen=True)
class Network:
    """A model, its inputs, and how far they move.

    Attributes:
        title: For tables.
        make: Builds the model.
        shape: Of one example.
        eps: Radius of the L∞ ball.
        weights: Name of its trained weights in a file of weights; None: random ones.
        normal: Whether inputs are drawn from a normal distribution; else uniformly from [0, 1].
    """

    title: str
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    eps: float
    weights: str | None = None
    normal: bool = False

    def build(self, batch: int, weights: Path | None) -> tuple[nn.Module, Tensor, bool]:
        """The model in evaluation mode, so many inputs `[batch, *shape]`, and whether the weights are trained.

        Args:
            batch: How many examples; where there are fewer trained ones, copies with some noise are added.
            weights: A file of trained weights, as `weights_file` finds it.
        """
        torch.manual_seed(0)
        model = self.make().eval().requires_grad_(False)
        full = (batch, *self.shape)
        x = torch.randn(full) if self.normal else torch.rand(full)
        found = _load(weights).get(self.weights) if weights is not None and self.weights else None
        if found is None:
            return model, x, False
        own = [t for name, t in model.state_dict().items() if "num_batches" not in name]
        for to, value in zip(own, found["weights"], strict=True):
            to.copy_(value.reshape(to.shape))
        images = found["x"].to(x.dtype)
        copies = images[torch.arange(batch) % len(images)]
        noise = 0.1 * (x - 0.5) * (torch.arange(batch) >= len(images)).view(-1, *[1] * len(self.shape))
        return model, (copies + noise).clamp(0, 1), True


@cache
def _load(path: Path) -> Mapping[str, Mapping[str, Any]]:
    found: Mapping[str, Mapping[str, Any]] = torch.load(path, weights_only=True)
    return found


def weights_file(given: Path | None) -> Path | None:
    """The file of trained weights: the given one, that of the variable, or one in a usual place; None without one.

    The file holds `{name: {"weights": [tensor, ...], "x": [N, *shape]}}`, weights in the order of `state_dict`.

    Raises:
        FileNotFoundError: If a file that was named does not exist.
    """
    named = given or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    if named is not None:
        if not named.is_file():
            raise FileNotFoundError(f"there is no file of weights {named}")
        return named
    return next((path for path in _USUAL if path.is_file()), None)


NETWORKS: dict[str, Network] = {
    "mnist-cnn": Network(
        "MNIST CNN (conv 16, conv 32, 100), ε 0.1", lambda: zoo().small_cnn(), (1, 28, 28), 0.1,
        weights="mnist_cnn_adv",
    ),
    "mlp": Network("MLP 784-1024×3-10, ε 0.02", lambda: mlp(784, 1024, 1024, 1024, 10), (784,), 0.02),
    "resnet-2b": Network(
        "ResNet-2B, ε 1/255", lambda: zoo().resnet_2b(), (3, 32, 32), 1 / 255, weights="cifar_resnet2b",
    ),
    "cnn-7": Network(
        "CNN-7 with batch norm, width 16, ε 1/255", lambda: zoo().cnn_7layer_bn(width=0.25), (3, 32, 32), 1 / 255
    ),
    "resnet-18": Network(
        "ResNet-18, width 8, ε 1/2040", lambda: zoo().resnet18(width=0.125), (3, 32, 32), 1 / 2040
    ),
    "lstm": Network("LSTM, 7 steps, d 16, h 64, ε 0.05", lambda: Recurrent(16, 64), (7, 16), 0.05, normal=True),
    "transformer": Network(
        "transformer, 2 layers, d 64, 16 tokens, ε 0.001", lambda: Transformer(64, 2), (16, 64), 1e-3, normal=True
    ),
}  # fmt: skip
