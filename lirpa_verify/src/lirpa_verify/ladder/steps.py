"""The steps of the ladder, from cheap to thorough, each for what the step before left open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from lirpa_verify.bounding import Bounder
from lirpa_verify.clock import Clock
from lirpa_verify.ladder.attack import Attack
from lirpa_verify.ladder.progress import Progress


@dataclass(frozen=True)
class State:
    """How a search stands.

    Attributes:
        seconds: Since the start.
        open: Subproblems that are open.
        bounded: Subproblems that have been bounded.
        worst: The lowest bound of any open one; infinity where none is open.
    """

    seconds: float
    open: int
    bounded: int
    worst: float


#: Told about a search now and then.
Report: TypeAlias = Callable[[State], None]


def silent(_: State) -> None:
    """Report nothing."""


@dataclass(frozen=True, eq=False)
class Context:
    """What steps share.

    Attributes:
        bounder: The bounded network.
        clock: The time that is left.
        seed: Fixes everything that is random.
        report: Told how a search stands.
    """

    bounder: Bounder
    clock: Clock
    seed: int
    report: Report = silent


class Step(Protocol):
    """One step of the ladder."""

    @property
    def name(self) -> str:
        """What tables call it."""

    def applies(self, progress: Progress) -> bool:
        """Whether it can do anything for what is open."""

    def run(self, progress: Progress, context: Context) -> Progress:
        """Work on what is open; give up when the time is over."""


@dataclass(frozen=True)
class AttackStep:
    """Searches for a counterexample.

    Attributes:
        attack: The attack.
        name: What tables call it.
        guide: A bound method whose linear bounds give points to begin with, the corners where the bounds are
            lowest; None: none. Only for one input in a box.
    """

    attack: Attack = field(default_factory=Attack)
    name: str = "attack"
    guide: str | None = None

    def applies(self, progress: Progress) -> bool:
        """Always."""
        return True

    def run(self, progress: Progress, context: Context) -> Progress:
        """Attack the open violations."""
        first = () if self.guide is None else _corners(progress, context.bounder, self.guide)
        found, _ = self.attack.run(progress.task, progress.open, context.clock, context.seed, first)
        return progress if found is None else progress.refuted(found)


def _corners(progress: Progress, bounder: Bounder, method: str) -> tuple[Tensor, ...]:
    """Where the linear bound of each open violation's first row is lowest: `[G, *S]`."""
    task = progress.task
    box = task.region.single_box()
    if box is None:
        return ()
    first = [int(task.rows.groups[g].nonzero()[0]) for g in progress.open]
    lower, upper = box
    bounds = bounder.linear(lower, upper, first, method)
    (shape,) = task.network.shapes
    return (torch.where(bounds.A[0] > 0, lower, upper).reshape(-1, *shape),)


@dataclass(frozen=True)
class BoundStep:
    """Bounds the rows of open violations by one of the core's methods.

    Attributes:
        name: What tables call it.
        method: The core's name of the method.
        iterations: Steps of a method that optimises slopes; None: not one of those.
        rows_at_once: How many rows a call has, so that the clock is looked at in between; None: all.
    """

    name: str
    method: str
    iterations: int | None = None
    rows_at_once: int | None = None

    def applies(self, progress: Progress) -> bool:
        """Always."""
        return True

    def run(self, progress: Progress, context: Context) -> Progress:
        """Tighten the open rows."""
        options = None
        if self.iterations is not None:
            # A search over neurons, if there is need of one, searches for the bounds of all of them itself.
            options = {"optimize_bound_args": {"iteration": self.iterations, "fix_interm_bounds": True}}
        rows = progress.open_rows
        size = self.rows_at_once or len(rows)
        for start in range(0, len(rows), size):
            if context.clock.expired:
                break
            some = rows[start : start + size]
            progress = progress.tightened(some, context.bounder.lower(some, self.method, None, options)[0])
        return progress
