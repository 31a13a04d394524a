"""What costly rules choose, found once for the intervals that they are on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.relaxation import Relaxation
from lirpa_core.methods.rows_as_examples import fold_relaxation
from lirpa_core.problem.problem import Problem
from lirpa_core.problem.relaxations import Relax, Relaxations, by_rule


@dataclass(frozen=True, eq=False)
class Settled:
    """Relaxes nodes as their rules choose, and remembers those of costly rules for as long as the intervals are the same objects.

    A method that bounds many nodes, each by passes through those before it, meets the same gates again and again.
    """

    _known: dict[tuple[str, bool], tuple[tuple[Interval | None, ...], Relaxation]] = field(
        default_factory=dict
    )

    def __call__(self, problem: Problem, name: str, inputs: tuple[Interval | None, ...]) -> Relaxation:
        """The relaxation of a node, without rounding."""
        if not problem.rules[name].costly:
            return by_rule(problem, name, inputs)
        key = name, torch.is_grad_enabled()  # a pass without gradients must leave nothing for one with them
        made = self._known.get(key)
        if made is None or not all([a is b for a, b in zip(made[0], inputs, strict=True)]):
            made = inputs, by_rule(problem, name, inputs)
            self._known[key] = made
        return made[1]

    def laid_out(self, problem: Problem, intervals: Mapping[str, Interval], copies: int) -> Relax:
        """Relaxes the nodes of a problem that has every example so many times, without gradients.

        Args:
            problem: The problem that has them once.
            intervals: Bounds of its nodes.
            copies: How many times.
        """
        table = Relaxations(problem, intervals)

        def relax(folded: Problem, name: str, inputs: tuple[Interval | None, ...]) -> Relaxation:
            with torch.no_grad():
                if problem.rules[name].costly:
                    found = fold_relaxation(self(problem, name, table.operand_intervals(name)), copies)
                    if found is not None:
                        return found
                return by_rule(folded, name, inputs)

        return relax
