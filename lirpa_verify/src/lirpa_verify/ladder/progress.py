"""What is known about a task while steps work on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from lirpa_verify.rounding import is_positive, slack
from lirpa_verify.task import Counterexample, Task


@dataclass(frozen=True, eq=False)
class Progress:
    """What is known so far.

    Attributes:
        task: The task.
        lower: Best lower bounds of the rows over the whole set, `[R]`.
        excluded: Violations that a search has excluded part by part, `[G]`.
        searched: Lower bounds of the violations' margins that a search has found, `[G]`.
        counterexample: A confirmed violation.
        counts: Numbers that a search reports, such as its subproblems.
    """

    task: Task
    lower: Tensor
    excluded: Tensor
    searched: Tensor
    counterexample: Counterexample | None = None
    counts: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def start(cls, task: Task) -> Progress:
        """Nothing is known."""
        groups, rows = task.rows.groups.shape
        unknown = torch.full((groups + rows,), -torch.inf, dtype=torch.float64)
        return cls(task, unknown[:rows], torch.zeros(groups, dtype=torch.bool), unknown[rows:])

    @property
    def margins(self) -> Tensor:
        """Lower bounds of the violations' margins, `[G]`: the best less what rounding could have added; zero where one is excluded."""
        rows = self.task.rows
        scale = rows.constants.abs().expand_as(rows.groups).masked_fill(~rows.groups, 0).amax(1)
        of_rows = rows.margins((self.lower - slack(rows.constants)).unsqueeze(0))[0]
        found = of_rows.maximum(self.searched - slack(scale))
        return torch.where(self.excluded, found.clamp(min=0), found)

    @property
    def open(self) -> list[int]:
        """Numbers of the violations that are not excluded."""
        rows = self.task.rows
        positive = is_positive(self.lower, rows.constants)
        closed = (rows.groups & positive).any(1) | self.excluded
        return [g for g, done in enumerate(closed.tolist()) if not done]

    @property
    def open_rows(self) -> list[int]:
        """Numbers of the rows of open violations."""
        return [r for r, used in enumerate(self.task.rows.groups[self.open].any(0).tolist()) if used]

    @property
    def decided(self) -> bool:
        """Whether there is nothing left to do."""
        return self.counterexample is not None or not self.open

    def tightened(self, rows: list[int], lower: Tensor) -> Progress:
        """With lower bounds `[len(rows)]` of some rows."""
        changed = self.lower.clone()
        changed[rows] = changed[rows].maximum(lower)
        return replace(self, lower=changed)

    def refuted(self, found: Counterexample) -> Progress:
        """With a counterexample."""
        return replace(self, counterexample=found)
