"""`lirpa plugins`: what is installed, and whether it loads."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass

import click

from lirpa_core.cli.report import json_option, print_json, print_table, registry_of
from lirpa_core.plugins import LIRPA_API_VERSION, PluginInfo, PluginWarning, Registry


@dataclass(frozen=True)
class PluginRow:
    """One plugin as `lirpa plugins` shows it; the fields are the keys of its JSON."""

    name: str
    version: str | None
    distribution: str | None
    source: str | None
    api_version: int | None
    status: str
    operators: int = 0
    decompositions: int = 0
    kernels: int = 0
    perturbations: int = 0
    stage: str | None = None
    error: str | None = None


@click.command(
    "plugins",
    epilog="""\b
    Examples:
      lirpa plugins
      lirpa plugins --json | jq '.plugins[] | select(.status != "ok")'
      LIRPA_DISABLE_PLUGINS=vision,nlp lirpa plugins
    """,
)
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List the installed plugins.

    For each one: its version, its distribution, the API version it was written for, how many operators
    and perturbations it provides, and whether it is loaded, disabled, or failed and why.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"plugin .* was not loaded", PluginWarning)  # the table tells
        rows = plugin_rows(registry_of(ctx))
    if as_json:
        print_json({"lirpa_api_version": LIRPA_API_VERSION, "plugins": [asdict(row) for row in rows]})
        return
    columns = ("name", "version", "distribution", "API", "operators", "perturbations", "status")
    print_table(
        columns,
        (
            (r.name, r.version, r.distribution, r.api_version, r.operators, r.perturbations, r.status)
            for r in rows
        ),
    )
    for row in rows:
        if row.error:
            click.echo(f"\n{row.name} failed at stage '{row.stage}': {row.error}")


def plugin_rows(registry: Registry) -> list[PluginRow]:
    """Loaded plugins in their order, then the failed and the disabled ones."""
    loaded = [_loaded_row(registry, info) for info in registry.plugins]
    failed = [
        PluginRow(f.name, f.version, f.distribution, None, None, "failed", stage=f.stage, error=f.error)
        for f in registry.failures
    ]
    disabled = [
        PluginRow(info.name, info.version, info.distribution, info.source, None, "disabled")
        for info in registry.disabled
    ]
    return [*loaded, *failed, *disabled]


def _loaded_row(registry: Registry, info: PluginInfo) -> PluginRow:
    return PluginRow(
        info.name,
        info.version,
        info.distribution,
        info.source,
        info.api_version,
        "ok",
        operators=sum(entry.plugin == info.name for entry in registry.operators.values())
        + sum(entry.plugin == info.name for entry in registry.leaf_modules.values()),
        decompositions=sum(entry.plugin == info.name for entry in registry.decompositions.values()),
        kernels=sum(entry.plugin == info.name for entry in registry.kernels.values()),
        perturbations=sum(entry.plugin == info.name for entry in registry.perturbations.values()),
    )
