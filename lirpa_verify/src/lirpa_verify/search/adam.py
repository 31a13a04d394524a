"""Gradient ascent by Adam, as PyTorch computes it; `torch.optim` imports PyTorch's compiler, which takes seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

_MOMENTS: Final = (0.9, 0.999)
_EPS: Final = 1e-8


@dataclass(eq=False)
class Adam:
    """Kingma & Ba 2015, "Adam: a method for stochastic optimization", upwards, with a rate that decays.

    Attributes:
        variables: What is changed, in place.
        rates: The rate of each.
        decay: What the rates are multiplied by after every step.
    """

    variables: Sequence[Tensor]
    rates: Sequence[float]
    decay: float = 1.0
    _step: int = 0
    _means: list[Tensor] = field(init=False)
    _squares: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self._means = [torch.zeros_like(v) for v in self.variables]
        self._squares = [torch.zeros_like(v) for v in self.variables]

    def step(self, gradients: Sequence[Tensor | None]) -> None:
        """Take a step along gradients; None: the value does not depend on the variable."""
        self._step += 1
        first, second = _MOMENTS
        of_mean, of_square = 1 - first**self._step, 1 - second**self._step
        shrunk = self.decay ** (self._step - 1)
        with torch.no_grad():
            for v, rate, gradient, mean, square in zip(
                self.variables, self.rates, gradients, self._means, self._squares, strict=True
            ):
                if gradient is None:
                    continue
                mean.lerp_(gradient, 1 - first)
                square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
                size = (square.sqrt() / math.sqrt(of_square)).add_(_EPS)
                v.addcdiv_(mean, size, value=rate * shrunk / of_mean)
