"""Relaxations of a problem's nodes on given intervals, each computed once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.relaxation import Relaxation
from lirpa_core.problem.problem import Problem


@dataclass(frozen=True, eq=False)
class Relaxations:
    """Lazy table of relaxations for one pass of an engine.

    Attributes:
        problem: The problem.
        intervals: Bounds of the nodes; may grow and tighten while the engine runs.
    """

    problem: Problem
    intervals: Mapping[str, Interval]
    _known: dict[str, Relaxation] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Relaxation:
        """Relaxation of an operator node on the current intervals of its operands."""
        if name not in self._known:
            self._known[name] = self.relax(name)
        return self._known[name]

    def relax(self, name: str) -> Relaxation:
        """Ask the rule of a node."""
        return self.problem.rule(name).relax(self.problem.calls[name], self.inputs(name))

    def inputs(self, name: str) -> tuple[Interval | None, ...]:
        """The intervals that the rule of a node reads, one entry an operand."""
        call = self.problem.calls[name]
        needed = self.problem.rule(name).needs_interval(call)
        return tuple(
            self.intervals[o] if need else None for o, need in zip(call.operands, needed, strict=True)
        )

    def forget(self, names: frozenset[str]) -> None:
        """Drop relaxations whose intervals have become tighter."""
        for name in names:
            self._known.pop(name, None)
