"""`lirpa verify`: prove or refute a property of an ONNX network, or a whole list of them."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lirpa_core.errors import LirpaError
from lirpa_verify.commands.shared import ERROR, EXIT_CODES, failing, progress_line, ray_option, runner_of

if TYPE_CHECKING:
    from lirpa_verify.answers.result import Result
    from lirpa_verify.instances import Instance, Outcome
    from lirpa_verify.running import Runner

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(
    "verify",
    short_help="Prove or refute a property of a network.",
    epilog="""\b
    Examples:
      lirpa verify net.onnx property.vnnlib --timeout 60
      lirpa verify net.onnx property.vnnlib --explain --plot search.png
      lirpa verify --instances instances.csv --results out.csv --timeout 60
      lirpa verify --instances instances.csv --results out.csv --jobs 4

    \b
    Exit codes: 0 proved, 10 refuted, 20 unknown, 1 error; with --instances
    0 unless an instance ended with an error. 2 is a wrong use of the command.
    """,
)
@click.argument("network", required=False, type=_FILE)
@click.argument("query", metavar="PROPERTY", required=False, type=_FILE)
@click.option("--timeout", type=float, default=60.0, show_default=True, help="Seconds for an instance.")
@click.option("--instances", type=_FILE, help="A list of instances: VNN-COMP's onnx,vnnlib,timeout.")
@click.option(
    "--results", type=_FILE, help="Where their results go; a run that was cut off goes on from there."
)
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Instances at once.")
@ray_option
@click.option(
    "--counterexample", type=_FILE, help="Where it goes; default: PROPERTY's name with .counterexample."
)
@click.option("--branching", default="auto", show_default=True, help="Branching heuristic, by name.")
@click.option("--seed", type=int, default=0, show_default=True, help="Fixes everything that is random.")
@click.option("--threads", type=click.IntRange(1), help="Threads of PyTorch; default: its own choice.")
@click.option("--explain", is_flag=True, help="Show what each step did, and which one decided.")
@click.option("--plot", type=_FILE, help="Draw the worst bound against time into this file.")
@click.option(
    "--report", type=_FILE, help="With --instances: a page with a table and a cactus plot, .html or .md."
)
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    network: Path | None,
    query: Path | None,
    timeout: float,
    instances: Path | None,
    results: Path | None,
    jobs: int,
    on_ray: bool,
    counterexample: Path | None,
    branching: str,
    seed: int,
    threads: int | None,
    explain: bool,
    plot: Path | None,
    report: Path | None,
    as_json: bool,
) -> None:
    """Prove or refute that NETWORK (an ONNX file) never does what PROPERTY (a VNN-LIB file) describes.

    "proved": no input of the set leads there. "refuted": an input does; it was run through onnxruntime, and is
    written to a file. "unknown": neither was found in time.
    """
    try:
        if threads is not None:
            import torch

            torch.set_num_threads(threads)
        if instances is not None:
            if network is not None or results is None:
                raise click.UsageError("--instances needs --results, and takes no NETWORK or PROPERTY.")
            _many(
                ctx,
                instances,
                results,
                report,
                timeout,
                runner_of(jobs, on_ray=on_ray),
                seed,
                branching,
                explain,
                as_json,
            )
            return
        if network is None or query is None:
            raise click.UsageError("give NETWORK and PROPERTY, or --instances with --results.")
        result = _one(network, query, timeout, seed, branching)
        _show(result, network, query, counterexample, explain, as_json)
        if plot is not None:
            result.plot(plot)
    except LirpaError as error:
        failing(error)
    ctx.exit(EXIT_CODES[result.status])


def _one(network: Path, query: Path, timeout: float, seed: int, branching: str) -> Result:
    from lirpa_verify.questions import verify_files

    with progress_line() as report:
        return verify_files(network, query, timeout=timeout, seed=seed, branching=branching, report=report)


def _show(
    result: Result, network: Path, query: Path, path: Path | None, explain: bool, as_json: bool
) -> None:
    from lirpa_verify.answers.text import vnncomp_counterexample
    from lirpa_verify.errors import InstancesError

    written = None
    if result.counterexample is not None:
        written = path or Path(f"{query.name.removesuffix('.gz').removesuffix('.vnnlib')}.counterexample")
        try:
            written.write_text(vnncomp_counterexample(result.counterexample))
        except OSError as error:
            raise InstancesError(
                f"refuted, but the counterexample cannot be written to {written}: {error}"
            ) from error
    if as_json:
        answer = {"network": str(network), "property": str(query), **result.as_json()}
        click.echo(json.dumps({**answer, "counterexample_file": None if written is None else str(written)}))
        return
    if explain:
        click.echo(result.explain())
    else:
        by = f" by {result.statistics.decided_by}" if result.status != "unknown" else ""
        click.echo(f"{result.status}{by} in {result.statistics.seconds:.2f} s")
    if written is not None:
        click.echo(f"counterexample: {written}")


def _many(
    ctx: click.Context,
    path: Path,
    results: Path,
    report: Path | None,
    timeout: float,
    runner: Runner | None,
    seed: int,
    branching: str,
    explain: bool,
    as_json: bool,
) -> None:
    from lirpa_verify.instances import ResultsFile, read_instances, run_instances
    from lirpa_verify.instances.table import by_family

    listed = read_instances(path)
    file = ResultsFile(results)
    left = file.open_instances(listed)
    if len(left) < len(listed) and not as_json:
        click.echo(f"{len(listed) - len(left)} of {len(listed)} instances have results in {results} already")

    def told(outcome: Outcome, explanation: str) -> None:
        if as_json:
            click.echo(json.dumps(asdict(outcome)))
            return
        done = len(listed) - len(left) + len(seen) + 1
        seen.append(outcome)
        click.echo(
            f"[{done}/{len(listed)}] {outcome.network} {outcome.query}: {outcome.answer}{_judged(outcome, listed)}, "
            f"{outcome.seconds:.2f} s"
        )
        if explain and explanation:
            click.echo("  " + explanation.replace("\n", "\n  "))

    seen: list[Outcome] = []
    run_instances(listed, file, timeout=timeout, runner=runner, seed=seed, branching=branching, told=told)
    rows = by_family(file.outcomes, listed)
    if not as_json:
        _print_table(rows)
    if report is not None:
        from lirpa_verify.instances.report import write_report

        write_report(report, file.outcomes, listed)
    ctx.exit(ERROR if any(o.answer.startswith("error") for o in file.outcomes) else 0)


def _judged(outcome: Outcome, listed: list[Instance]) -> str:
    expected = next(
        (i.expected for i in listed if (i.network, i.query) == (outcome.network, outcome.query)), None
    )
    wrong = expected is not None and outcome.answer in {"sat", "unsat"} and outcome.answer != expected
    return f" (WRONG: expected {expected})" if wrong else ""


def _print_table(rows: list) -> None:  # type: ignore[type-arg]
    from rich.console import Console
    from rich.table import Table

    table = Table(
        *("family", "instances", "proved", "refuted", "unknown", "errors", "wrong", "≤ 5 s", "median s")
    )
    for row in rows:
        numbers = (row.instances, row.proved, row.refuted, row.unknown, row.failed, row.wrong, row.quick)
        table.add_row(row.family, *map(str, numbers), f"{row.median:.2f}")
    Console(width=None if sys.stdout.isatty() else 110).print(table)
