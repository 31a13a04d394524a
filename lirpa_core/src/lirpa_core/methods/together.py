"""Relaxations of many nodes at once, where their rule gains from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.relaxation import Relaxation
from lirpa_core.problem.problem import Problem
from lirpa_core.problem.relaxations import Relaxations


@dataclass(frozen=True, eq=False)
class Together:
    """Relaxes nodes as their rules choose, those of one rule all at once when the first is asked for.

    The steps of a recurrent network are many small calls of a few rules. One after the other, most of the time is
    the overhead of small tensors. The intervals have to be final.

    Attributes:
        intervals: Bounds of the nodes.
        names: The nodes that may be asked for.
    """

    intervals: Mapping[str, Interval]
    names: frozenset[str]
    _known: dict[tuple[str, bool], Relaxation] = field(default_factory=dict)

    def __call__(self, problem: Problem, name: str, inputs: tuple[Interval | None, ...]) -> Relaxation:
        """The relaxation of a node."""
        rule = problem.rules[name]
        if not rule.relaxes_together:
            return rule.relax(problem.calls[name], inputs)
        recording = (
            torch.is_grad_enabled()
        )  # a pass that records no gradients must leave nothing for one that does
        if (name, recording) not in self._known:
            table = Relaxations(problem, self.intervals)
            names = [n for n in problem.calls if n in self.names and problem.rules[n] is rule]
            found = rule.relax_all(
                [problem.calls[n] for n in names], [table.operand_intervals(n) for n in names]
            )
            self._known.update({(n, recording): r for n, r in zip(names, found, strict=True)})
        return self._known[name, recording]
