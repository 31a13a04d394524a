"""Subproblems of a search over neurons: which neurons are split, and on which side."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Subproblems:
    """A batch of subproblems, each a violation with some neurons limited further.

    Attributes:
        violation: Its number among the wanted ones, `[B]`.
        neuron: The split neurons, `[B, D]`; entries that are not used have no limits.
        lower: Their lower limits, `[B, D]`.
        upper: Their upper limits, `[B, D]`.
        worst: The lower bound of the violation's margin, `[B]`.
        split: The neuron to split next, `[B]`.
        point: Where, `[B]`.
        beta: Multipliers of the splits that the last bound was found with, `[B, D]`.
        slopes: Its slopes, as a `SlopeTable` keeps them, `[B, V]`.
    """

    violation: Tensor
    neuron: Tensor
    lower: Tensor
    upper: Tensor
    worst: Tensor
    split: Tensor
    point: Tensor
    beta: Tensor
    slopes: Tensor

    @classmethod
    def roots(cls, margins: Tensor, slopes: Tensor) -> Subproblems:
        """One for each of the wanted violations, nothing split.

        Args:
            margins: Lower bounds of their margins, `[G]`.
            slopes: Slopes to begin with, `[V]`.
        """
        count = len(margins)
        none = margins.new_zeros(count, 0)
        zeros = torch.zeros(count, dtype=torch.long)
        return cls(
            torch.arange(count), none.long(), none, none, margins, zeros, margins.new_zeros(count),
            none, slopes.expand(count, -1),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.violation)

    def __getitem__(self, index: Tensor) -> Subproblems:
        return Subproblems(*(getattr(self, f.name)[index] for f in fields(self)))

    @staticmethod
    def join(*parts: Subproblems) -> Subproblems:
        """All subproblems of some batches."""
        depth = max(p.neuron.shape[1] for p in parts)
        padded = [p._padded(depth) for p in parts]
        return Subproblems(*(torch.cat([getattr(p, f.name) for p in padded]) for f in fields(Subproblems)))

    def _padded(self, depth: int) -> Subproblems:
        batch, missing = len(self), depth - self.neuron.shape[1]
        if not missing:
            return self

        def longer(entries: Tensor, value: float) -> Tensor:
            return torch.cat([entries, entries.new_full((batch, missing), value)], 1)

        return Subproblems(
            self.violation,
            longer(self.neuron, 0),
            longer(self.lower, -torch.inf),
            longer(self.upper, torch.inf),
            self.worst,
            self.split,
            self.point,
            longer(self.beta, 0),
            self.slopes,
        )

    def halves(self) -> Subproblems:
        """Both sides of every split: all with the neuron above its point, then all with it below."""
        twice = self[torch.arange(len(self)).repeat(2)]
        above = torch.arange(2 * len(self)) < len(self)
        low = torch.where(above, twice.point, -torch.inf)
        high = torch.where(above, torch.inf, twice.point)
        return Subproblems(
            twice.violation,
            torch.cat([twice.neuron, twice.split.unsqueeze(1)], 1),
            torch.cat([twice.lower, low.unsqueeze(1)], 1),
            torch.cat([twice.upper, high.unsqueeze(1)], 1),
            twice.worst,
            twice.split,
            twice.point,
            torch.cat([twice.beta, torch.zeros_like(low).unsqueeze(1)], 1),
            twice.slopes,
        )

    @property
    def bytes_of_one(self) -> int:
        """Bytes that a subproblem takes."""
        tensors = [getattr(self, f.name) for f in fields(self)]
        return sum(t.element_size() * t.shape[1:].numel() for t in tensors)

    def limits(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds of all neurons over the whole set, `[1, N]`, with the subproblems' limits: `[B, N]`."""
        low = lower.expand(len(self), -1).scatter_reduce(1, self.neuron, self.lower, "amax")
        high = upper.expand(len(self), -1).scatter_reduce(1, self.neuron, self.upper, "amin")
        return low, high
