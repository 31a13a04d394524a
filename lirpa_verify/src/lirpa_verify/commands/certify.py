"""`lirpa certify`: certified accuracy of a data set."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lirpa_core.errors import LirpaError, OptionError
from lirpa_verify.commands.shared import failing, ray_option, runner_of, time_left

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lirpa_verify.answers.accuracy import Accuracy, Certificate
    from lirpa_verify.certification import Question
    from lirpa_verify.running import Runner

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(
    "certify",
    short_help="Certified accuracy of a data set.",
    epilog="""\b
    Examples:
      lirpa certify model.pt2 data.npz --norm inf --eps 0.01
      lirpa certify model.pt2 data.npz --eps 0.01 --eps 0.02 --min 0 --max 1 --plot accuracy.png
      lirpa certify model.pt2 data.npz --eps 0.01 --limit 100 --json
      lirpa certify model.pt2 data.npz --eps 0.01 --results out.csv --jobs 4

    \b
    Exit codes: 0 when every example has a verdict, unknown included; 1 error.
    """,
)
@click.argument("model", type=_FILE)
@click.argument("data", type=_FILE)
@click.option(
    "--norm", default="inf", show_default=True, help="The norm: inf, 2, 1, or another number from 1."
)
@click.option("--eps", type=float, multiple=True, required=True, help="Radius; may be repeated.")
@click.option("--min", "low", type=float, help="Least value of valid inputs.")
@click.option("--max", "high", type=float, help="Greatest value of valid inputs.")
@click.option("--limit", type=click.IntRange(1), help="Only the first so many examples.")
@click.option("--timeout", type=float, default=10.0, show_default=True, help="Seconds for an example.")
@click.option(
    "--results",
    type=_FILE,
    help="Where certificates go as they come; a run that was cut off goes on from there.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    help="Processes at once, which may fail without ending the run; default: this one alone.",
)
@ray_option
@click.option("--branching", default="auto", show_default=True, help="Branching heuristic, by name.")
@click.option("--seed", type=int, default=0, show_default=True, help="Fixes everything that is random.")
@click.option("--plot", type=_FILE, help="Draw the accuracies against the radius into this file.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(
    model: Path,
    data: Path,
    norm: str,
    eps: tuple[float, ...],
    low: float | None,
    high: float | None,
    limit: int | None,
    timeout: float,
    results: Path | None,
    jobs: int | None,
    on_ray: bool,
    branching: str,
    seed: int,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Certify that MODEL gives the examples of DATA their label, however their values move within EPS.

    MODEL is a classifier: a file of torch.export.save with its batch size left open, or an ONNX file; DATA an .npz file
    with inputs x and labels y.

    An example is "wrong" if it is classified wrongly as it is, "proved" if nothing in its set changes the class,
    "refuted" if something does, and else "unknown". Proved examples count for certified accuracy.

    With --results every certificate is written as it comes, and the same command goes on where a run was cut off. A
    file that answers another question (another model, other data, norm, radii, limits, timeout, ...) is refused.
    """
    from lirpa_verify.answers.accuracy import Accuracy
    from lirpa_verify.certification import Question, load_data

    try:
        question = Question(
            model, data, tuple(sorted(set(eps))), _exponent(norm), low, high, timeout, seed, branching
        )
        count = len(load_data(data)[1])
        count = count if limit is None else min(count, limit)
        found = _certificates(question, count, runner_of(jobs, on_ray=on_ray), results)
        rows = {radius: Accuracy.of(certificates) for radius, certificates in found.items()}
        _print(rows, found, as_json)
        if plot is not None:
            from lirpa_verify.answers.plot import plot_accuracies

            plot_accuracies(rows, norm, plot)
    except LirpaError as error:
        failing(error)


def _exponent(norm: str) -> float:
    try:
        return float(norm)
    except ValueError as error:
        raise OptionError(f"--norm {norm!r}: expected inf or a number from 1") from error


def _certificates(
    question: Question, count: int, runner: Runner | None, results: Path | None
) -> dict[float, list[Certificate]]:
    """Certificates by radius, in the order of the examples."""
    from lirpa_verify.certification import CertificatesFile, Example, run_certification

    examples = [Example(radius, index) for radius in question.radii for index in range(count)]
    file = None if results is None else CertificatesFile(results, question)
    before = 0 if file is None else sum(example in file.certificates for example in examples)
    found: dict[float, list[Certificate]] = {radius: [] for radius in question.radii}
    start = time.monotonic()
    proved = 0
    for done, (example, one) in enumerate(
        run_certification(question, examples, runner=runner, results=file), 1
    ):
        found[example.eps].append(one)
        proved += one.verdict == "proved"
        if sys.stderr.isatty() and (done >= before or done == len(examples)):
            left = time_left(start, done - before, len(examples) - done)
            text = f"eps {example.eps:g}: {done} of {len(examples)} examples, {proved} proved{left}"
            sys.stderr.write(f"\r\x1b[K{text}" + "\n" * (done == len(examples)))
            sys.stderr.flush()
    return {radius: sorted(ones, key=lambda one: one.index) for radius, ones in found.items()}


def _print(rows: Mapping[float, Accuracy], found: Mapping[float, list[Certificate]], as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        parts = [
            {"eps": eps, **asdict(row), "certificates": [asdict(c) for c in found[eps]]}
            for eps, row in rows.items()
        ]
        click.echo(json.dumps(parts))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("eps", "examples", "clean", "certified", "at most", "unknown", "seconds")
    for eps, row in rows.items():
        unknown = sum(c.verdict == "unknown" for c in found[eps])
        shares = (f"{100 * v:.1f}%" for v in (row.clean, row.certified, row.upper))
        table.add_row(f"{eps:g}", str(row.examples), *shares, str(unknown), f"{row.seconds:.1f}")
    Console(width=None if sys.stdout.isatty() else 100).print(table)
