"""What the commands share: the registry they look at, tables for people, JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lirpa_core.graph import SourceLocation
from lirpa_core.plugins import Registry, default_registry

#: Width where output is no terminal: nothing is cut or wrapped in files and pipes.
_UNLIMITED = 100_000

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


def registry_of(ctx: click.Context) -> Registry:
    """The registry to look at: the context's object where a caller put one there, else the default one."""
    return ctx.obj if isinstance(ctx.obj, Registry) else default_registry()


def print_json(data: dict[str, Any]) -> None:
    """Write one JSON document to stdout."""
    click.echo(json.dumps(data, indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table to stdout; None is shown as a dash."""
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text("-" if cell is None or cell == "" else str(cell)) for cell in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=_UNLIMITED)
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        click.echo(line.rstrip())


def location_json(location: SourceLocation) -> dict[str, Any]:
    """A place in a user's model as JSON."""
    return {
        "file": location.file,
        "line": location.line,
        "code": location.code,
        "module_path": location.module_path,
        "module_type": location.module_type,
    }
