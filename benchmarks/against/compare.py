"""Measures a cell with both versions in turn."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.against.cells import Cell
from benchmarks.against.client import Crew, WorkerError

#: Tasks of a crew.
TIMES, MEMORY = "times", "memory"


@dataclass(frozen=True)
class Plan:
    """How cells are measured.

    Attributes:
        repeat: Turns of each version.
        seconds: No new turn starts when the turns of both versions took so long.
        turn: Least seconds of a turn.
        limit: Most seconds of one request.
        threads: Of PyTorch.
        weights: File of trained weights.
        timing: Whether times are measured; else only bounds are compared.
        memory: Whether peak memory is measured.
        cpu: Whether the processor's time is counted instead of the clock's.
        outward: Whether the newer version is also timed with outward rounding.
    """

    repeat: int = 12
    seconds: float = 40.0
    turn: float = 0.25
    limit: float = 1200.0
    threads: int = 1
    weights: Path | None = None
    timing: bool = True
    memory: bool = True
    cpu: bool = False
    outward: bool = False


@dataclass(frozen=True)
class Side:
    """What one version gave.

    Attributes:
        seconds: Least time of a call.
        calls: How many calls were timed.
        mib: Peak memory of a call beyond model and data.
        flops: Operations of matrix products and convolutions in a call; of the newer version only.
        bytes: What operators read and write in a call; likewise.
        outward: Least time of a call with outward rounding.
        error: Why there is nothing.
    """

    seconds: float | None = None
    calls: int = 0
    mib: float | None = None
    flops: int | None = None
    bytes: int | None = None
    outward: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class Compared:
    """A cell, measured.

    Attributes:
        old: The older version.
        new: The newer one.
        trained: Whether the weights were trained ones.
        difference: Largest difference of a bound, relative to the larger of its size and the interval's width.
        width: Mean width of the newer version divided by that of the older.
    """

    old: Side
    new: Side
    trained: bool = False
    difference: float | None = None
    width: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times faster the newer version is."""
        return _ratio(self.old.seconds, self.new.seconds)

    @property
    def memory_ratio(self) -> float | None:
        """How many times less memory the newer version takes."""
        return _ratio(self.old.mib, self.new.mib)


def _ratio(old: float | None, new: float | None) -> float | None:
    return None if old is None or not new else old / new


def compare(cell: Cell, old: Crew, new: Crew, plan: Plan) -> Compared:
    """Measure a cell: both versions take turns A B B A ..., each in a process of its own that lives on."""
    crews = {"old": old, "new": new}
    errors: dict[str, str] = {}
    first: dict[str, float] = {}
    trained = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for side, crew in crews.items():
            with _noted(crew, side, errors):
                trained = crew.worker(TIMES).open(cell, plan.limit, plan.weights, {})
                first[side] = crew.worker(TIMES).ask("bounds", plan.limit, file=str(folder / side))["seconds"]
        difference, width = _difference(folder) if len(first) == len(crews) else (None, None)
    times = _turns({side: crews[side] for side in first}, first, errors, plan) if plan.timing else {}
    sides = {
        side: _side(cell, crew, side, errors, times.get(side), plan)
        if side not in errors
        else Side(error=errors[side])
        for side, crew in crews.items()
    }
    return Compared(sides["old"], sides["new"], trained, difference, width)


@contextmanager
def _noted(crew: Crew, side: str, errors: dict[str, str]) -> Iterator[None]:
    """Note the first error of a side, and send the process home that made it."""
    try:
        yield
    except WorkerError as error:
        errors.setdefault(side, str(error))
        crew.dismiss(TIMES)
        crew.dismiss(MEMORY)


def _turns(
    crews: Mapping[str, Crew], first: Mapping[str, float], errors: dict[str, str], plan: Plan
) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {side: [] for side in crews}
    spent = sum(first.values())
    for turn in range(plan.repeat):
        for side in list(crews) if turn % 2 == 0 else reversed(list(crews)):
            if side not in errors:
                with _noted(crews[side], side, errors):
                    worker = crews[side].worker(TIMES)
                    found = worker.ask("time", plan.limit, seconds=plan.turn, cpu=plan.cpu)["seconds"]
                    times[side] += found
                    spent += sum(found)
        if spent > plan.seconds:
            break
    return times


def _side(
    cell: Cell, crew: Crew, side: str, errors: dict[str, str], times: Sequence[float] | None, plan: Plan
) -> Side:
    work: Mapping[str, Any] = {}
    mib = outward = None
    with _noted(crew, side, errors):
        if times and side == "new":
            work = crew.worker(TIMES).ask("work", plan.limit)
        if plan.memory:
            mib = crew.worker(MEMORY).peak(cell, plan.limit, plan.weights)
        if plan.outward and side == "new":
            outward = _outward(cell, crew, plan)
    return Side(
        seconds=min(times) if times else None,
        calls=len(times or ()),
        mib=mib,
        flops=work.get("flops"),
        bytes=work.get("bytes"),
        outward=outward,
        error=errors.get(side),
    )


def _outward(cell: Cell, crew: Crew, plan: Plan) -> float | None:
    """The least time with outward rounding; None where the version has no such option."""
    worker = crew.worker(TIMES)
    try:
        worker.open(cell, plan.limit, plan.weights, {"rounding": "outward"})
    except WorkerError as error:
        if "rounding" in str(error):
            return None
        raise
    worker.ask("time", plan.limit, seconds=0.0)
    seconds = plan.turn * plan.repeat
    times: Sequence[float] = worker.ask("time", plan.limit, seconds=seconds, cpu=plan.cpu)["seconds"]
    return min(times)


def _difference(folder: Path) -> tuple[float, float]:
    old, new = (torch.load(folder / side, weights_only=True) for side in ("old", "new"))
    return largest_difference(old, new)


def largest_difference(old: tuple[Tensor, Tensor], new: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """The largest relative difference of two pairs of bounds, and the ratio of their mean widths, new over old.

    A difference is relative to the larger of the old bounds' size and width; it is infinite where only one of
    the two is finite, or one is not a number.
    """
    (a, b), (c, d) = ((lower.double(), upper.double()) for lower, upper in (old, new))
    scale = torch.stack([a.abs(), b.abs(), b - a]).amax(0).clamp_min(1e-300)
    worst = 0.0
    for x, y in ((a, c), (b, d)):
        relative = torch.where(x == y, 0.0, (x - y).abs() / scale)
        worst = max(worst, float(torch.where(relative.isfinite(), relative, math.inf).max()))
    return worst, float((d - c).mean() / (b - a).mean())
