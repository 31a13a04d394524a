"""Bounds of a case by every method, against what its box reaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.kinds.case import Case
from benchmarks.kinds.reached import Reached, reached
from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import LirpaError

#: Methods, in the order of the table's columns.
METHODS = ("IBP", "CROWN-IBP", "CROWN", "forward", "CROWN-Optimized")

#: Samples are computed in float64 (or a case's narrower type), whose rounding bounds of real arithmetic do not cover: units of the
#: last place of the largest value that a box reaches.
_ULPS = 1024


@dataclass(frozen=True)
class Cell:
    """What one method makes of a case.

    Attributes:
        ratio: Mean width of the bounds over the mean width reached, over both boxes; NaN where nothing is known.
        error: Name of the error that refused it, and its first line; empty where there are bounds.
        foreign: Whether that error is no error of lirpa's.
        outside: By how much a sample lies outside of the bounds; nothing, where they hold.
    """

    ratio: float = float("nan")
    error: str = ""
    foreign: bool = False
    outside: float = 0.0


@dataclass(frozen=True)
class Row:
    """What all methods make of a case."""

    case: Case
    cells: tuple[Cell, ...]


def measure(case: Case, methods: Sequence[str] = METHODS) -> Row:
    """Bound a case by every method, and try to break the bounds."""
    lower, upper = case.boxes()
    try:
        model = case.model()
        bounded = BoundedModule(model, lower, bound_opts={"optimize_bound_args": {"iteration": 5}})
    except Exception as error:  # noqa: BLE001 - what leaves the library is what is measured
        return Row(case, (_refusal(error),) * len(methods))
    ball = BoundedTensor((lower + upper) / 2, PerturbationLpNorm(x_L=lower, x_U=upper))
    found = reached(model, lower, upper)
    return Row(case, tuple(_cell(bounded, ball, method, found) for method in methods))


def _cell(bounded: BoundedModule, ball: Tensor, method: str, found: Reached) -> Cell:
    try:
        with torch.no_grad():
            bounds = bounded.compute_bounds(x=(ball,), method=method)
    except Exception as error:  # noqa: BLE001 - as above
        return _refusal(error)
    low, up = bounds.lower.flatten(1).to(torch.float64), bounds.upper.flatten(1).to(torch.float64)  # [B, K]
    scale = torch.maximum(found.least.abs(), found.most.abs()).amax()
    slack = _ULPS * torch.finfo(bounds.lower.dtype).eps * scale
    outside = torch.maximum(low - found.least, found.most - up).amax() - slack
    width, range_ = (up - low).mean(), (found.most - found.least).mean()
    ratio = 1.0 if bool(width <= 2 * slack) and bool(range_ <= slack) else float(width / range_)
    return Cell(ratio, outside=max(0.0, float(outside.nan_to_num(torch.inf))))


def _refusal(error: Exception) -> Cell:
    first = next((line for line in str(error).splitlines() if line.strip()), "")
    return Cell(error=f"{type(error).__name__}: {first}", foreign=not isinstance(error, LirpaError))
