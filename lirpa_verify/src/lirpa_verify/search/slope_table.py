"""The slopes of all relaxations in one row of numbers, as a subproblem hands them on to its halves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lirpa_core.methods import FreeSlope

#: Slopes by node name, as `free_slopes` gives them.
Free = Mapping[str, tuple[FreeSlope, ...]]


@dataclass(frozen=True, eq=False)
class SlopeTable:
    """Which slopes are kept: those that are free in the whole set, for in its parts no others are.

    Attributes:
        entries: Node, number of the slope among the node's, and the elements that are free.
    """

    entries: tuple[tuple[str, int, Tensor], ...]

    @classmethod
    def of(cls, free: Free) -> SlopeTable:
        """The table for slopes that are free in any example of a batch."""
        found = []
        for name, variables in free.items():
            for slot, variable in enumerate(variables):
                index = (variable.span > 0).flatten(1).any(0).nonzero().flatten()
                if len(index):
                    found.append((name, slot, index))
        return cls(tuple(found))

    @property
    def width(self) -> int:
        """How many numbers a subproblem keeps, `V`."""
        return sum(len(index) for _, _, index in self.entries)

    def kept(self, free: Free, positions: Tensor) -> Tensor:
        """The positions of slopes, `[B, V]`; those of nodes that are not free in this batch stay as they are.

        Args:
            free: The slopes.
            positions: What has been kept before, `[B, V]`.
        """
        parts = list(positions.split([len(index) for _, _, index in self.entries], 1))
        for i, (name, slot, index) in enumerate(self.entries):
            if name in free:
                parts[i] = free[name][slot].position.detach().flatten(1)[:, index].to(positions.dtype)
        return torch.cat(parts, 1) if parts else positions

    def placed(self, free: Free, positions: Tensor) -> dict[str, tuple[FreeSlope, ...]]:
        """Slopes at kept positions `[B, V]`, as variables."""
        parts = positions.split([len(index) for _, _, index in self.entries], 1)
        found = {name: list(variables) for name, variables in free.items()}
        for (name, slot, index), part in zip(self.entries, parts, strict=True):
            if name in found:
                old = found[name][slot]
                flat = old.position.detach().flatten(1).clone()
                flat[:, index] = part.to(flat.dtype)
                position = flat.reshape(old.position.shape).requires_grad_(old.has_choice)
                found[name][slot] = replace(old, position=position)
        return {name: tuple(variables) for name, variables in found.items()}
