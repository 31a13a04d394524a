"""The neurons of a network that can be split, laid out one after the other.

What is read from the captured graph is read here and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, TypeAlias

import torch
from torch import Tensor

from lirpa_core import Interval
from lirpa_core.methods import Problem

#: From bounds to the point where a neuron is split; NaN where that is pointless.
SplitPoint: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def _at_zero(lower: Tensor, upper: Tensor) -> Tensor:
    return torch.where((lower < 0) & (upper > 0), 0.0, torch.nan).to(lower.dtype)


def _in_the_middle(lower: Tensor, upper: Tensor) -> Tensor:
    return torch.where(upper > lower, lower / 2 + upper / 2, torch.nan)


#: Where neurons in front of an operator are split: at the kink, and where there is none in the middle.
POINTS: Final[Mapping[str, SplitPoint]] = {
    **dict.fromkeys(("aten.relu.default", "aten.leaky_relu.default", "aten.abs.default"), _at_zero),
    **dict.fromkeys(
        (
            "aten.sigmoid.default",
            "aten.tanh.default",
            "aten.gelu.default",
            "aten.silu.default",
            "aten.elu.default",
            "aten.softplus.default",
            "aten.sin.default",
            "aten.cos.default",
            "aten.exp.default",
        ),
        _in_the_middle,
    ),
}


@dataclass(frozen=True, eq=False)
class Layer:
    """The neurons of one node.

    Attributes:
        name: The node's name.
        shape: Of one example, as the core has it.
        point: Where they are split.
        activation: The node of the first activation that reads them.
    """

    name: str
    shape: tuple[int, ...]
    point: SplitPoint
    activation: str

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class Neurons:
    """All neurons that can be split, in the order of the graph.

    Attributes:
        layers: Their nodes.
        lower: Their lower bounds over the whole set, `[1, N]`.
        upper: Their upper bounds.
    """

    layers: tuple[Layer, ...]
    lower: Tensor
    upper: Tensor

    @classmethod
    def of(cls, problem: Problem, intervals: Mapping[str, Interval]) -> Neurons | None:
        """The neurons of a network with the bounds that a method has found; None where there are none."""
        layers: dict[str, Layer] = {}
        for name, call in problem.calls.items():
            point = POINTS.get(str(call.node.target))
            if point is not None and call.operands and call.operands[0] in problem.calls:
                neuron = call.operands[0]
                layers.setdefault(neuron, Layer(neuron, problem.shape(neuron), point, name))
        if not layers:
            return None
        bounds = [intervals[name] for name in layers]
        lower, upper = (
            torch.cat([side.detach().reshape(1, -1) for side in sides], 1)
            for sides in ([b.lower for b in bounds], [b.upper for b in bounds])
        )
        return cls(tuple(layers.values()), lower, upper)

    @property
    def firsts(self) -> list[int]:
        """Number of the first neuron of each node."""
        return [0, *accumulate(layer.size for layer in self.layers[:-1])]

    @property
    def kinked(self) -> bool:
        """Whether all of them are in front of kinks at zero, where halves are straight lines."""
        return all(layer.point is _at_zero for layer in self.layers)

    def intervals(self, lower: Tensor, upper: Tensor) -> dict[str, Interval]:
        """Bounds `[B, N]` as the core takes them, by node."""
        sizes = [layer.size for layer in self.layers]
        parts = zip(self.layers, lower.split(sizes, 1), upper.split(sizes, 1), strict=True)
        return {
            layer.name: Interval(low.reshape(-1, *layer.shape), high.reshape(-1, *layer.shape))
            for layer, low, high in parts
        }

    def points(self, lower: Tensor, upper: Tensor) -> Tensor:
        """Where each neuron would be split, `[B, N]`; NaN where it cannot be."""
        sizes = [layer.size for layer in self.layers]
        parts: Sequence[Tensor] = [
            layer.point(low, high)
            for layer, low, high in zip(
                self.layers, lower.split(sizes, 1), upper.split(sizes, 1), strict=True
            )
        ]
        return torch.cat(list(parts), 1)
