"""The command `python -m benchmarks.auto`: what `method="auto"` chooses for several budgets, and what the best choice was.

The best method for a budget is the tightest one whose own time fits it: they are ordered IBP, CROWN-IBP, CROWN,
CROWN-Optimized. Times are processor times of one thread, the least of some calls; `auto` measures its budget by the same clock
here, so that a busy machine does not stop it early.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch
from rich.console import Console

from benchmarks.against.networks import NETWORKS, Network, weights_file
from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm

#: From the loosest to the tightest.
METHODS = ("IBP", "CROWN-IBP", "CROWN", "CROWN-Optimized")
BUDGETS = (0.05, 0.5, 5.0, 50.0)
#: Calls that take longer are made once.
_LONG = 2.0


@dataclass(frozen=True)
class Measured:
    """One method, or one choice of `auto`.

    Attributes:
        method: Its name.
        seconds: Processor time of a call.
        width: Mean width of the bounds.
        looser: By how much a bound is looser than that of IBP, at most; 0 where none is.
        reason: Why it was chosen.
    """

    method: str
    seconds: float
    width: float
    looser: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class Row:
    """What `auto` did with one network and one budget.

    Attributes:
        network: Title of the network.
        budget: Seconds.
        auto: What it chose.
        best: The best method that fits.
    """

    network: str
    budget: float
    auto: Measured
    best: Measured

    @property
    def ratio(self) -> float:
        """The time of `auto` over that of the best method."""
        return self.auto.seconds / self.best.seconds


def measure(network: Network, weights: Path | None, budgets: Sequence[float], repeat: int) -> list[Row]:
    """The rows of one network, on one example."""
    model, x, _ = network.build(1, weights)
    given = BoundedTensor(x, PerturbationLpNorm(eps=network.eps))
    bounded = BoundedModule(model, x)
    ibp = bounded.compute_bounds(given, method="IBP")

    def call(method: str, budget: float | None = None) -> Measured:
        times: list[float] = []
        found = ibp
        while len(times) <= repeat and not (times and times[-1] > _LONG):
            start = time.process_time()
            found = bounded.compute_bounds(given, method=method, time_budget=budget)
            times.append(time.process_time() - start)
        looser = max(float((ibp.lower - found.lower).max()), float((found.upper - ibp.upper).max()), 0.0)
        width = float((found.upper - found.lower).mean())
        return Measured(found.method, min(times), width, looser, found.reason)

    known = [call(method) for method in METHODS]
    rows = []
    for budget in budgets:
        fitting = [m for m in known if m.seconds <= budget] or known[:1]
        rows.append(Row(network.title, budget, call("auto", budget), fitting[-1]))
    return rows


def lines(rows: Iterable[Row]) -> Iterator[str]:
    """The table in Markdown."""
    yield "| network | budget s | `auto` chose | s | of the best's time | the best that fits | s | width of `auto` / of the best | never looser than IBP |"
    yield "|---|---:|---|---:|---:|---|---:|---:|---|"
    for row in rows:
        width = row.auto.width / row.best.width if row.best.width else math.nan
        yield (
            f"| {row.network} | {row.budget:g} | {row.auto.method} | {row.auto.seconds:.3g} | {row.ratio:.2f} × | "
            f"{row.best.method} | {row.best.seconds:.3g} | {width:.3g} | {'✓' if row.auto.looser == 0 else row.auto.looser} |"
        )


def page(rows: Sequence[Row]) -> str:
    """The page of the documentation."""
    slower = sum(row.ratio > 2 for row in rows)
    over = sum(row.auto.seconds > row.budget >= row.best.seconds for row in rows)
    looser = sum(row.auto.looser > 0 for row in rows)
    text = (
        "# What `auto` chooses\n\n"
        "`python -m benchmarks.auto --page docs/benchmarks/auto.md` wrote this page: one example of each network of the\n"
        f"comparisons, one thread of a CPU, PyTorch {torch.__version__}, processor times. The best method is the tightest of IBP,\n"
        "CROWN-IBP, CROWN and CROWN-Optimized whose own time fits the budget, IBP where none does.\n\n"
        f"Of {len(rows)} choices {slower} took more than twice the time of the best method, {over} more than a budget that some\n"
        f"method fits, and {looser} gave a bound looser than that of IBP.\n\n"
    )
    return text + "\n".join(lines(rows)) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, and write the page where asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.auto", description=__doc__)
    parser.add_argument(
        "--network", action="append", choices=list(NETWORKS), help="only this one; may be repeated"
    )
    parser.add_argument("--repeat", type=int, default=3, help="calls that count (default: %(default)s)")
    parser.add_argument("--weights", type=Path, help="file of trained weights")
    parser.add_argument("--page", type=Path, help="write the page of the documentation here")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    console, rows = Console(soft_wrap=True), []
    weights = weights_file(options.weights)
    with torch.no_grad(), mock.patch("time.monotonic", time.process_time):
        for name in options.network or NETWORKS:
            found = measure(NETWORKS[name], weights, BUDGETS, options.repeat)
            rows += found
            for row in found:
                console.print(
                    f"{name} {row.budget:g} s: {row.auto.method} {row.auto.seconds:.3g} s, {row.ratio:.2f} × {row.best.method}; {row.auto.reason}"
                )
    if options.page is not None:
        options.page.write_text(page(rows), encoding="utf-8")
    else:
        print("\n".join(lines(rows)))


if __name__ == "__main__":
    main()
