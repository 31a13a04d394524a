"""`lirpa methods`: the ways to bound a model that are installed."""

from __future__ import annotations

import click

from lirpa_core.cli.report import json_option, print_json, print_table, registry_of


@click.command(
    "methods",
    epilog="""\b
    Examples:
      lirpa methods
      lirpa methods --json
    """,
)
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List the methods that `compute_bounds(method=...)` finds by name, and the plugin that brings each."""
    entries = registry_of(ctx).methods
    if as_json:
        rows = [
            {
                "name": entry.method.name,
                "aliases": list(entry.method.aliases),
                "plugin": entry.plugin,
                "linear_bounds": entry.method.gives_linear_bounds,
                "optimises_slopes": entry.method.optimises_slopes,
                "summary": entry.method.summary,
            }
            for entry in entries
        ]
        print_json({"methods": rows})
        return
    print_table(
        ("name", "also called", "plugin", "linear bounds", "what it does"),
        (
            (
                e.method.name,
                ", ".join(e.method.aliases),
                e.plugin,
                "yes" if e.method.gives_linear_bounds else "no",
                e.method.summary,
            )
            for e in entries
        ),
    )
