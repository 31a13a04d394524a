"""Regularisers for the warm-up of certified training.

After Shi et al. 2021, "Fast certified robust training with short warmup".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lirpa_core.errors import OptionError
from lirpa_core.linear import Interval
from lirpa_training.bounding import Bounding

aten = torch.ops.aten


@dataclass(frozen=True)
class WarmupRegularizer:
    """Keeps interval bounds from exploding, and ReLUs from all being active or all dead, while ε grows.

    Tightness: for each layer before a ReLU, the mean width of its interval should be at most `1 / tolerance`
    times that of the input. Balance: in each of those layers the midpoints of the active neurons and those
    of the inactive ones should weigh about the same, in sum and in variance; the smaller should be at least
    `tolerance` of the larger. A condition that is met costs nothing.

    Attributes:
        weight: Factor on the sum of both, λ in the paper.
        tolerance: τ in the paper, above 0 and at most 1.
        tightness: Whether the first part counts.
        balance: Whether the second part counts.

    Raises:
        OptionError: For a negative weight, or a tolerance out of range.
    """

    weight: float = 0.5
    tolerance: float = 0.5
    tightness: bool = True
    balance: bool = True

    def __post_init__(self) -> None:
        if not self.weight >= 0:
            raise OptionError(f"WarmupRegularizer: weight={self.weight!r} must not be negative.")
        if not 0 < self.tolerance <= 1:
            raise OptionError(
                f"WarmupRegularizer: tolerance={self.tolerance!r} must be above 0 and at most 1."
            )

    def __call__(self, bounds: Bounding) -> Tensor:
        """The regulariser of a step, a scalar; zero for a model without ReLUs."""
        intervals = bounds.inner.intervals
        layers = [
            intervals[call.operands[0]]
            for name, call in bounds.problem.calls.items()
            if bounds.problem.graph[name].target is aten.relu.default
        ]
        total = torch.zeros((), dtype=bounds.problem.dtype, device=bounds.problem.device)
        if not layers:
            return total
        widths = [intervals[name].width.mean() for name in bounds.problem.inputs]
        width = torch.stack(widths).mean()
        for layer in layers:
            if self.tightness:
                total = total + self._lacking(_ratio(width, layer.width.mean()))
            if self.balance:
                total = total + self._imbalance(layer)
        return self.weight * total / len(layers)

    def _lacking(self, ratio: Tensor) -> Tensor:
        return F.relu(self.tolerance - ratio) / self.tolerance

    def _imbalance(self, layer: Interval) -> Tensor:
        midpoint = (layer.lower + layer.upper) / 2
        active = (midpoint > 0).to(midpoint.dtype)
        spread = (midpoint - midpoint.mean(0, keepdim=True)) ** 2
        total = torch.zeros((), dtype=midpoint.dtype, device=midpoint.device)
        for value in (midpoint.abs(), spread):
            on, off = (value * active).sum(), (value * (1 - active)).sum()
            total = total + self._lacking(_ratio(torch.minimum(on, off), torch.maximum(on, off)))
        return total


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """`a / b`, and one where both are zero."""
    return torch.where(b > 0, a / torch.where(b > 0, b, 1), torch.ones_like(b))
