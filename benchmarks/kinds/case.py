"""One way to use PyTorch, and the boxes that it is bounded on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

#: A model of one tensor `[B, *shape]`.
Function: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    """A model and its boxes.

    Attributes:
        name: What it is.
        build: Makes the function, or the module, in float64 unless `dtype` says otherwise. Called after a seed is set.
        shape: Shape of one example.
        low: The least value of every element of the wide box.
        high: The greatest one.
        dtype: Type of inputs and parameters.
        narrow: Share of the wide box's width that the narrow box has.
        refused: Name of the error that is right; empty where bounds are wanted.
    """

    name: str
    build: Callable[[], Function]
    shape: tuple[int, ...] = (4,)
    low: float = -1.0
    high: float = 1.0
    dtype: torch.dtype = torch.float64
    narrow: float = 0.2
    refused: str = ""

    def boxes(self) -> tuple[Tensor, Tensor]:
        """Lower and upper ends, each `[2, *shape]`: the wide box, and a narrow one somewhere in it."""
        generator = torch.Generator().manual_seed(len(self.name))
        span = self.high - self.low
        start = torch.rand(self.shape, generator=generator, dtype=torch.float64) * (1 - self.narrow)
        low = torch.stack([torch.full_like(start, self.low), self.low + span * start])
        high = torch.stack([torch.full_like(start, self.high), self.low + span * (start + self.narrow)])
        return low.to(self.dtype), high.to(self.dtype)

    def model(self) -> Function:
        """The model, with the same parameters at every call."""
        torch.manual_seed(0)
        built = self.build()
        return built.to(self.dtype).eval() if isinstance(built, nn.Module) else built


def op(
    name: str,
    function: Function,
    low: float = -1.0,
    high: float = 1.0,
    *,
    shape: tuple[int, ...] = (4,),
    refused: str = "",
) -> Case:
    """A case of a function without parameters.

    Args:
        name: What it is.
        function: Of a tensor `[B, *shape]`.
        low: The least value of every element.
        high: The greatest one.
        shape: Shape of one example.
        refused: See `Case`.
    """
    return Case(name, lambda: function, shape, low, high, refused=refused)


def net(
    name: str,
    build: Callable[[], nn.Module],
    shape: tuple[int, ...],
    eps: float = 0.1,
    *,
    around: float = 0.0,
    dtype: torch.dtype = torch.float64,
) -> Case:
    """A case of a module, on a box of a radius around one number.

    Args:
        name: What it is.
        build: Makes the module.
        shape: Shape of one example.
        eps: Radius of the wide box.
        around: Middle of the wide box.
        dtype: See `Case`.
    """
    return Case(name, build, shape, around - eps, around + eps, dtype)
