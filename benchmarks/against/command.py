"""The command `python -m benchmarks --against COMMIT`."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import checkout, history
from benchmarks.against.cells import CELLS, METHODS, Cell
from benchmarks.against.client import Crew, Version
from benchmarks.against.compare import Compared, Plan, Side, compare
from benchmarks.against.networks import VARIABLE, weights_file
from benchmarks.against.roofline import Machine, measure_machine
from benchmarks.against.table import HEADERS, Row, markdown, rows


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="python -m benchmarks --against COMMIT",
        description="Time the same bounds with this checkout and with another commit, in alternating processes.",
    )
    add = result.add_argument
    add(
        "--against",
        metavar="COMMIT",
        required=True,
        help="the older version: anything that git calls a commit",
    )
    add("--new", metavar="COMMIT", help="the newer version (default: this checkout as it is)")
    add(
        "--cell", action="append", metavar="NAME", help="only cells whose name contains NAME; may be repeated"
    )
    add("--method", action="append", choices=sorted(METHODS), help="only this method; may be repeated")
    add("--long", action="store_true", help="cells of which a call takes half a minute or more, too")
    add("--list", action="store_true", help="list the cells and stop")
    add("--bounds", action="store_true", help="compare the bounds only; nothing is timed")
    add("--repeat", type=int, default=Plan.repeat, help="turns of each version (default: %(default)s)")
    add(
        "--seconds", type=float, default=Plan.seconds, help="no new turn after so long (default: %(default)s)"
    )
    add("--limit", type=float, default=Plan.limit, help="most seconds of one call (default: %(default)s)")
    add("--threads", type=int, default=1, help="threads of PyTorch (default: %(default)s)")
    add(
        "--cpu-time",
        action="store_true",
        help="count the processor's time, not the clock's: on a busy machine",
    )
    add("--no-memory", action="store_true", help="do not measure peak memory")
    add("--outward", action="store_true", help="also time the newer version with outward rounding")
    add("--weights", type=Path, help=f"file of trained weights (default: ${VARIABLE}, then usual places)")
    add(
        "--json",
        type=Path,
        help="file of figures; cells of the same code that it holds are not measured again",
    )
    add("--markdown", type=Path, help="file for the table, such as docs/benchmarks/against.md")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parser().parse_args(arguments)
    chosen = choose(options.cell or [], options.method or [], long=options.long or options.list)
    if options.repeat < 1 or options.threads < 1:
        return _fail("--repeat and --threads must be at least 1")
    if not chosen:
        return _fail(f"no cell is chosen; there are {', '.join(c.name for c in CELLS)}")
    console = Console(width=None if sys.stdout.isatty() else 150)
    if options.list:
        console.print(_listing(chosen))
        return 0
    try:
        plan = Plan(
            options.repeat, options.seconds, limit=options.limit, threads=options.threads,
            weights=weights_file(options.weights), timing=not options.bounds,
            memory=not (options.no_memory or options.bounds), cpu=options.cpu_time, outward=options.outward,
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            old = version(options.against, Path(folder) / "old")
            new = version(options.new, Path(folder) / "new")
            _measure(chosen, old, new, plan, options, console)
    except (ValueError, FileNotFoundError) as error:
        return _fail(str(error))
    return 0


def choose(names: Sequence[str], methods: Sequence[str], *, long: bool) -> list[Cell]:
    """The cells that are named, of one of the methods.

    Args:
        names: Whole names of cells, or parts of names; a whole name stands for itself alone. Empty: all.
        methods: Keys of `METHODS`; empty: all.
        long: Whether long cells are among them; one whose whole name is given always is.
    """
    whole = {c.name for c in CELLS} & set(names)
    parts = set(names) - whole
    found = [c for c in CELLS if not names or c.name in whole or any(part in c.name for part in parts)]
    return [
        c for c in found if (not methods or c.short in methods) and (long or not c.long or c.name in whole)
    ]


def version(commit: str | None, folder: Path) -> Version:
    """A commit's packages laid down in a folder; None: this checkout.

    Raises:
        ValueError: If there is no such commit.
    """
    folder.mkdir(parents=True)
    if commit is None:
        try:
            name = checkout.commit_of("HEAD")
        except (OSError, ValueError):
            name = "?"
        return Version(
            f"{name} as checked out", checkout.HERE, checkout.write_metadata(checkout.HERE, folder)
        )
    root = checkout.extract(commit, folder / "packages")
    return Version(checkout.commit_of(commit), root, checkout.write_metadata(root, folder / "metadata"))


def _measure(
    chosen: Sequence[Cell],
    old: Version,
    new: Version,
    plan: Plan,
    options: argparse.Namespace,
    console: Console,
) -> None:
    torch.set_num_threads(plan.threads)
    setting = {
        "device": history.machine(torch.device("cpu"))["device"], "threads": plan.threads,
        "torch": torch.__version__, "python": platform.python_version(),
        "clock": "processor's" if plan.cpu else "wall",
    }  # fmt: skip
    state = {
        "old": {"name": old.name, "code": checkout.fingerprint(old.root)},
        "new": {"name": new.name, "code": checkout.fingerprint(new.root)},
        "setting": setting,
    }
    found, machine = _resume(options.json, state)
    if machine is None and plan.timing:
        machine = measure_machine()
    with Crew(old, plan.threads) as olds, Crew(new, plan.threads) as news:
        for i, cell in enumerate(chosen, start=1):
            if cell.name in found and not (plan.timing and found[cell.name].new.seconds is None):
                continue
            console.print(f"[{i}/{len(chosen)}] {cell.name}", end=" ", highlight=False, markup=False)
            found[cell.name] = compare(cell, olds, news, plan)
            (row,) = rows([cell], found, machine)
            told = [f"{head} {text}" for head, text in zip(HEADERS[1:], row.columns[1:], strict=True) if text]
            console.print(", ".join(told), highlight=False, soft_wrap=True, markup=False)
            if options.json:
                _save(options.json, state, found, machine)
    lines = rows(CELLS, found, machine)
    console.print(_table(lines, old.name, new.name))
    if options.markdown:
        options.markdown.write_text(markdown(lines, old.name, new.name, setting, machine), encoding="utf-8")


def _resume(path: Path | None, state: Mapping[str, Any]) -> tuple[dict[str, Compared], Machine | None]:
    if path is None or not path.exists():
        return {}, None
    kept = json.loads(path.read_text(encoding="utf-8"))
    if (
        any(kept[side]["code"] != state[side]["code"] for side in ("old", "new"))
        or kept["setting"] != state["setting"]
    ):
        raise ValueError(
            f"{path} holds figures of other code or of another machine; name another file or delete it"
        )
    cells = {
        name: Compared(**{**c, "old": Side(**c["old"]), "new": Side(**c["new"])})
        for name, c in kept["cells"].items()
    }
    return cells, None if kept["machine"] is None else Machine(**kept["machine"])


def _save(
    path: Path, state: Mapping[str, Any], found: Mapping[str, Compared], machine: Machine | None
) -> None:
    kept = {
        **state,
        "machine": None if machine is None else asdict(machine),
        "cells": {name: asdict(compared) for name, compared in found.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def _listing(cells: Sequence[Cell]) -> Table:
    table = Table(box=None)
    for column in ("cell", "what", "needed", "long"):
        table.add_column(column)
    for cell in cells:
        needed = "" if cell.needed is None else f"{cell.needed:.2f} ×"
        table.add_row(cell.name, f"{cell.method}; {cell.title}", needed, "long" if cell.long else "")
    return table


def _table(lines: Sequence[Row], old: str, new: str) -> Table:
    table = Table(title=f"old {old}, new {new}", title_justify="left", box=None)
    table.add_column("cell")
    for column in HEADERS[1:]:
        table.add_column(column, justify="right")
    for line in lines:
        table.add_row(line.cell.name, *line.columns[1:])
    return table


def _fail(message: str) -> int:
    print(f"python -m benchmarks --against: {message}", file=sys.stderr)
    return 2
