"""A picture of a search: the worst bound and the open subproblems against time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lirpa_core.errors import OptionError
from lirpa_verify.answers.accuracy import Accuracy
from lirpa_verify.answers.statistics import Statistics, Status

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure() -> Figure:
    """An empty figure.

    Raises:
        OptionError: If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise OptionError("plots need matplotlib; install with: pip install 'lirpa-verify[plot]'") from error
    return Figure(figsize=(7, 4), layout="constrained")


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure to a file.

    Raises:
        OptionError: If the file or its format cannot be written.
    """
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise OptionError(f"cannot write the picture {path}: {error}") from error


def plot_accuracies(rows: Mapping[float, Accuracy], norm: str, path: str | Path) -> Figure:
    """Draw certified accuracy, and what attacks leave, against the radius.

    Args:
        rows: Accuracies by radius.
        norm: The norm's name.
        path: Where to save the picture.
    """
    figure = new_figure()
    axes = figure.subplots()
    for label, values in (
        ("clean", [r.clean for r in rows.values()]),
        ("not refuted", [r.upper for r in rows.values()]),
        ("certified", [r.certified for r in rows.values()]),
    ):
        axes.plot(list(rows), [100 * v for v in values], "o-", label=label)
    axes.set_xlabel(f"radius (L{norm})")
    axes.set_ylabel("accuracy in %")
    axes.set_ylim(0, 101)
    axes.legend()
    save(figure, path)
    return figure


def plot_search(status: Status, statistics: Statistics, path: str | Path | None) -> Figure:
    """Draw an answer's steps and search.

    Args:
        status: The answer.
        statistics: How it was found.
        path: Where to save the picture; None: nowhere.

    Raises:
        OptionError: If matplotlib is not installed.
    """
    figure = new_figure()
    axes = figure.subplots()
    elapsed = 0.0
    for step in statistics.steps:
        elapsed += step.seconds
        if step.worst is not None and math.isfinite(step.worst):
            axes.plot(elapsed, step.worst, "o")
            axes.annotate(
                step.step, (elapsed, step.worst), textcoords="offset points", xytext=(4, 4), fontsize=8
            )
    trace = [s for s in statistics.trace if math.isfinite(s.worst)]
    axes.plot([s.seconds for s in trace], [s.worst for s in trace], label="worst bound")
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set_xlabel("seconds")
    axes.set_ylabel("lower bound of the margin")
    axes.set_yscale("symlog", linthresh=1e-3)
    if trace:
        right = axes.twinx()
        right.plot(
            [s.seconds for s in trace], [s.open for s in trace], color="tab:orange", label="open subproblems"
        )
        right.set_ylabel("open subproblems")
    axes.set_title(f"{status} in {statistics.seconds:.1f} s")
    if path is not None:
        save(figure, path)
    return figure
