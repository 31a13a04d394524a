"""Relaxations of a problem's nodes on given intervals, each computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from torch import Tensor

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.relaxation import Relaxation
from lirpa_core.problem.problem import Problem
from lirpa_core.problem.rounding import with_rounding

#: `(problem, node name, intervals of the operands that its rule reads) -> relaxation`.
Relax: TypeAlias = Callable[[Problem, str, tuple[Interval | None, ...]], Relaxation]


def by_rule(problem: Problem, name: str, inputs: tuple[Interval | None, ...]) -> Relaxation:
    """The relaxation that the node's rule chooses."""
    return problem.rules[name].relax(problem.calls[name], inputs)


@dataclass(frozen=True, eq=False)
class Relaxations:
    """Lazy table of relaxations for one pass of a method.

    Attributes:
        problem: The problem.
        intervals: Bounds of the nodes; may grow and tighten while a method runs.
        relax: How a node is relaxed; default: as its rule chooses.
    """

    problem: Problem
    intervals: Mapping[str, Interval]
    relax: Relax = by_rule
    _known: dict[str, Relaxation] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Relaxation:
        """Relaxation of an operator node on the current intervals of its operands."""
        found = self._known.get(name)
        if found is None:
            found = self.relax(self.problem, name, self.operand_intervals(name))
            if self.problem.outward:
                errors: dict[str, Tensor | None] = {}
                for operand in self.problem.facts.charged_operands.get(name, ()):
                    errors[operand] = self[operand].error
                found = with_rounding(self.problem, name, found, self.intervals, errors)
            self._known[name] = found
        return found

    def operand_intervals(self, name: str) -> tuple[Interval | None, ...]:
        """The intervals that the rule of a node reads, one entry an operand; None where it reads none."""
        needed = self.problem.facts.needs_interval[name]
        operands = self.problem.calls[name].operands
        if len(operands) == 1:
            return (self.intervals[operands[0]] if needed[0] else None,)
        return tuple([self.intervals[o] if need else None for o, need in zip(operands, needed, strict=True)])

    def forget(self, names: Iterable[str]) -> None:
        """Drop relaxations whose intervals have become tighter."""
        for name in names:
            self._known.pop(name, None)

    def apart(self) -> Relaxations:
        """The same table with nothing in it, for a pass whose relaxations must not be used by others."""
        return replace(self, _known={})
