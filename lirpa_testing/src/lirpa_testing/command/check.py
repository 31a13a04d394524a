"""`lirpa check`: try everything that a package registers, and say what was tried and what failed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import lirpa_core
from lirpa_core.cli.report import json_option, print_json, registry_of
from lirpa_core.errors import OptionError

if TYPE_CHECKING:
    from lirpa_testing.conformance import Outcome, Suite
    from lirpa_testing.profiles import Profile


@click.command(
    "check",
    short_help="Try everything that a package registers.",
    epilog="""\b
    Examples:
      lirpa check lirpa-ops-vision
      lirpa check mine -k softmax         only what has "softmax" in its name
      lirpa check mine --profile fast     while writing a rule
      lirpa check --all --profile thorough --save result.json
                                          for hours; goes on where it was stopped
      lirpa check mine --json | jq '.rows[] | select(.failed > 0)'
    """,
)
@click.argument("packages", nargs=-1, metavar="[PACKAGE]...")
@click.option("--all", "every", is_flag=True, help="Check every installed plugin.")
@click.option("--profile", help="How hard to try: fast, ci or thorough. Default: LIRPA_PROFILE, else ci.")
@click.option("-k", "keyword", help="Only what has this in its name.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything random.")
@click.option(
    "--save",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write results to this JSON file as they come; what is in it already is not run again.",
)
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    packages: tuple[str, ...],
    every: bool,
    profile: str | None,
    keyword: str | None,
    seed: int,
    save: Path | None,
    as_json: bool,
) -> None:
    """Try every rule, kernel, structure, fusion and perturbation of PACKAGE on the cases that it declares, and its patterns.

    PACKAGE is the name of a distribution, of a plugin (see `lirpa plugins`), or of a module that can be imported.
    The report has a row for each operator and mode: examples tried, tightest and loosest gap relative to the scale
    of the values, how many elements were proved and how many sampled. Exit code 1: something failed or has no case.
    """
    if bool(packages) == every:
        raise click.UsageError("name one or more packages, or say --all.")
    from lirpa_testing.conformance import Report, suite_of
    from lirpa_testing.profiles import profile_of

    chosen = profile_of(profile)
    suite = suite_of(*packages, registry=registry_of(ctx)).matching(keyword)
    report = Report(chosen, tuple(_outcomes(suite, chosen, seed, save)))
    if as_json:
        print_json(report.to_json())
    else:
        for line in report.lines():
            click.echo(line)
    if not report.passed:
        ctx.exit(1)


def _outcomes(suite: Suite, profile: Profile, seed: int, save: Path | None) -> Iterator[Outcome]:
    from lirpa_testing.conformance import run

    store = _Store(save, {"profile": profile.name, "seed": seed, "version": lirpa_core.__version__})
    with _progress(len(suite.items)) as advance:
        for item in suite.items:
            advance(str(item))
            outcome = store.find(item.key)
            if outcome is None:
                outcome = run(item, suite.registry, profile, seed=seed)
                store.add(outcome)
            yield outcome


class _Store:
    """Results in a file, one line each, below a line that says what they are results of."""

    def __init__(self, path: Path | None, run: dict[str, Any]) -> None:
        from lirpa_testing.conformance import Outcome

        self.path = path
        self.known: dict[tuple[str, ...], Outcome] = {}
        if path is None:
            return
        if path.exists():
            try:
                head, *lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
                self.known = {o.key: o for o in map(Outcome.from_json, lines)}
            except (ValueError, KeyError, TypeError) as error:
                raise OptionError(f"{path} is no file that `lirpa check --save` wrote: {error}") from error
            if head != run:
                raise OptionError(
                    f"{path} holds results of another run, {head}, not {run}; choose another file"
                )
        else:
            self._write(run, "w")

    def find(self, key: tuple[str, ...]) -> Outcome | None:
        return self.known.get(key)

    def add(self, outcome: Outcome) -> None:
        if self.path is not None:
            self._write(outcome.to_json(), "a")

    def _write(self, data: dict[str, Any], mode: str) -> None:
        assert self.path is not None
        try:
            with self.path.open(mode, encoding="utf-8") as file:
                file.write(json.dumps(data) + "\n")
        except OSError as error:
            raise OptionError(f"cannot write {self.path}: {error.strerror or error}") from error


@contextmanager
def _progress(total: int) -> Iterator[Any]:
    """A progress bar on stderr, where that is a terminal; yields what to call with the next item's name."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total)
        started = False

        def advance(name: str) -> None:
            nonlocal started
            progress.update(task, advance=1 if started else 0, description=name)
            started = True

        yield advance
