"""The boxes that are still open."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes of inputs with what is known about them.

    Attributes:
        lower: Lower limits `[B, N]`.
        upper: Upper limits `[B, N]`.
        open: Violations that are not excluded, `[B, G]`.
        worst: The lowest bound of an open violation's margin, `[B]`.
        split: The input to halve next, `[B]`.
    """

    lower: Tensor
    upper: Tensor
    open: Tensor
    worst: Tensor
    split: Tensor

    def __len__(self) -> int:
        return self.lower.shape[0]

    def __getitem__(self, index: Tensor) -> Boxes:
        return Boxes(*(getattr(self, f.name)[index] for f in fields(self)))

    @staticmethod
    def join(*parts: Boxes) -> Boxes:
        """All boxes of some batches."""
        return Boxes(*(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Boxes)))

    @property
    def bytes_of_one(self) -> int:
        """Bytes that a box takes."""
        return sum(t[0].numel() * t.element_size() for t in (getattr(self, f.name) for f in fields(self)))


class Queue:
    """Open boxes, those with the worst bounds first.

    Once the boxes would take more than the budget, those nearest to being closed come first, so that the
    number of boxes stays about what it is.

    Args:
        first: The boxes to begin with.
        memory_budget: Bytes that the boxes may take before the order changes.
    """

    def __init__(self, first: Boxes, memory_budget: int) -> None:
        self._parts = [first]
        self._most = max(1, memory_budget // first.bytes_of_one)

    def __len__(self) -> int:
        return sum(len(p) for p in self._parts)

    def _whole(self) -> Boxes:
        if len(self._parts) > 1:
            self._parts = [Boxes.join(*self._parts)]
        return self._parts[0]

    @property
    def worst(self) -> float:
        """The lowest bound of any box; infinity where none is open."""
        return min((float(p.worst.min()) for p in self._parts if len(p)), default=float("inf"))

    def open_violations(self) -> Tensor:
        """Which violations are open in any box, `[G]`."""
        return self._whole().open.any(0)

    def worst_of(self, groups: int) -> Tensor:
        """The lowest bound of each violation's boxes, `[G]`; infinity where none is open."""
        boxes = self._whole()
        spread = boxes.worst.unsqueeze(1).expand(-1, groups).masked_fill(~boxes.open, torch.inf)
        return spread.amin(0) if len(boxes) else torch.full((groups,), torch.inf, dtype=torch.float64)

    def pop(self, count: int) -> Boxes:
        """Take out so many boxes."""
        boxes = self._whole()
        if len(boxes) <= count:
            self._parts = [boxes[torch.zeros(0, dtype=torch.long)]]
            return boxes
        taken = boxes.worst.topk(count, largest=len(boxes) > self._most, sorted=False).indices.sort().values
        kept = torch.ones(len(boxes), dtype=torch.bool)
        kept[taken] = False
        self._parts = [boxes[kept]]
        return boxes[taken]

    def push(self, boxes: Boxes) -> None:
        """Put boxes in."""
        if len(boxes):
            self._parts.append(boxes)
