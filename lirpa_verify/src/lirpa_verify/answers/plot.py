"""A picture of a search: the worst bound and the open subproblems against time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from lirpa_core.errors import OptionError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lirpa_verify.answers.result import Result


def plot_result(result: Result, path: str | Path | None) -> Figure:
    """Draw an answer's steps and search.

    Args:
        result: The answer.
        path: Where to save the picture; None: nowhere.

    Raises:
        OptionError: If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise OptionError("plots need matplotlib; install with: pip install 'lirpa-verify[plot]'") from error
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    elapsed = 0.0
    for step in result.statistics.steps:
        elapsed += step.seconds
        if step.worst is not None and math.isfinite(step.worst):
            axes.plot(elapsed, step.worst, "o")
            axes.annotate(step.step, (elapsed, step.worst), textcoords="offset points", xytext=(4, 4), fontsize=8)
    trace = [s for s in result.statistics.trace if math.isfinite(s.worst)]
    axes.plot([s.seconds for s in trace], [s.worst for s in trace], label="worst bound")
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set_xlabel("seconds")
    axes.set_ylabel("lower bound of the margin")
    axes.set_yscale("symlog", linthresh=1e-3)
    if trace:
        right = axes.twinx()
        right.plot([s.seconds for s in trace], [s.open for s in trace], color="tab:orange", label="open subproblems")
        right.set_ylabel("open subproblems")
    axes.set_title(f"{result.status} in {result.statistics.seconds:.1f} s")
    if path is not None:
        figure.savefig(path)
    return figure
