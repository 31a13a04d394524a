"""What heuristics that split boxes of inputs see, and what they answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from torch import Tensor

#: From lower and upper limits of boxes `[B, N]` to lower bounds of their rows, `[B, R]`, by a cheap method.
Trial: TypeAlias = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class OpenBoxes:
    """A batch of boxes that bounds did not close.

    Attributes:
        lower: Lower limits `[B, N]`.
        upper: Upper limits.
        coefficients: Of linear lower bounds of the rows over the boxes, `[B, R, N]`.
        bounds: Lower bounds of the rows, `[B, R]`; a row is harmless where it is positive.
        open: Which rows belong to a violation that is open in the box, `[B, R]`.
        groups: Which rows belong to which violation, `[G, R]`.
        trial: Bounds of other boxes, for heuristics that try their choices.
    """

    lower: Tensor
    upper: Tensor
    coefficients: Tensor
    bounds: Tensor
    open: Tensor
    groups: Tensor
    trial: Trial


class InputBranching(Protocol):
    """A heuristic that splits boxes of inputs in two halves.

    An implementation is a small immutable object; its answer depends on the boxes alone.
    """

    def choose(self, boxes: OpenBoxes) -> Tensor:
        """The input to halve for each box, `[B]`, whole numbers below `N`."""
