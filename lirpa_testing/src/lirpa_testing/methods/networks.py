"""Random small networks, as a user writes them: chains of steps with references to earlier values."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeAlias

import torch
from torch import Tensor, nn

#: Total functions of one variable.
FUNCTIONS: Final[Mapping[str, Callable[[Tensor], Tensor]]] = MappingProxyType(
    {
        "relu": torch.relu,
        "leaky_relu": lambda t: nn.functional.leaky_relu(t, 0.1),
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "gelu": nn.functional.gelu,
        "silu": nn.functional.silu,
        "softplus": nn.functional.softplus,
        "elu": nn.functional.elu,
        "hardtanh": nn.functional.hardtanh,
        "abs": torch.abs,
        "sin": torch.sin,
        "square": torch.square,
        "exp": lambda t: torch.exp(t / 4),
        "clamp": lambda t: t.clamp(-0.5, 0.7),
    }
)

#: Kinds of steps.
STEPS: Final = (
    "function",
    "linear",
    "residual",
    "product",
    "quotient",
    "concatenate",
    "split",
    "maximum",
    "normalize",
)

#: The kind of a step, the function in it (a key of `FUNCTIONS`), and how many values it looks back.
Step: TypeAlias = tuple[str, str, int]


class RandomNetwork(nn.Module):
    """A chain of steps on vectors of one width `[B, width]`, with three outputs `[B, 3]`.

    Args:
        steps: The steps.
        width: Width of all values between them.
        seed: Seed of the weights.
    """

    def __init__(self, steps: Sequence[Step], width: int, seed: int) -> None:
        super().__init__()
        self.steps = list(steps)
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            self.layers = nn.ModuleList(nn.Linear(width, width) for _ in steps)
            self.wide = nn.Linear(2 * width, width)
            self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for (kind, name, back), layer in zip(self.steps, self.layers, strict=True):
            h, other = seen[-1], seen[max(0, len(seen) - 1 - back)]
            seen.append(self._step(kind, FUNCTIONS[name], layer, h, other))
        out: Tensor = self.head(seen[-1])
        return out

    def _step(
        self, kind: str, f: Callable[[Tensor], Tensor], layer: nn.Module, h: Tensor, other: Tensor
    ) -> Tensor:
        moved: Tensor = layer(h)
        if kind == "function":
            return f(moved)
        if kind == "linear":
            return moved
        if kind == "residual":
            return f(moved) + other - h / 2
        if kind == "product":
            return f(moved) * torch.sigmoid(other)
        if kind == "quotient":
            return moved / (1 + other.abs())
        if kind == "concatenate":
            joined: Tensor = self.wide(torch.cat([f(h), other], dim=-1))
            return joined
        if kind == "split":
            a, b = moved.split([1, h.shape[-1] - 1], dim=-1)
            return torch.cat([b, f(a)], dim=-1)
        if kind == "maximum":
            return torch.maximum(moved, other)
        return h - h.mean(-1, keepdim=True)

    def extra_repr(self) -> str:
        return f"steps={self.steps}"


def random_network(seed: int) -> RandomNetwork:
    """A network of one to five steps, in float64.

    Args:
        seed: What it depends on.

    >>> random_network(3).head.out_features
    3
    """
    draw = random.Random(seed)  # noqa: S311 - nothing secret
    steps = [
        (draw.choice(STEPS), draw.choice(sorted(FUNCTIONS)), draw.randrange(4))
        for _ in range(draw.randint(1, 5))
    ]
    return RandomNetwork(steps, draw.randint(2, 4), draw.randrange(10**6)).double().eval()
