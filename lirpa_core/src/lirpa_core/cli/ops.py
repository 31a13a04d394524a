"""`lirpa ops`: which operators have rules, and what a model needs that none covers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import click
import torch

from lirpa_core.cli.report import json_option, location_json, print_json, print_table, registry_of
from lirpa_core.errors import CaptureError, OptionError
from lirpa_core.graph import SourceLocation
from lirpa_core.plugins import LeafModuleEntry, Registry, provider_of
from lirpa_core.plugins.providers import advice
from lirpa_core.rules.base import Rule

#: Family shown for an operator that has no rule, but falls apart into operators that may have.
DECOMPOSITION = "decomposition"

#: Family shown for a class of modules whose rule is made from the module.
DEPENDS = "depends on the module"


@dataclass(frozen=True)
class OperatorRow:
    """One operator as `lirpa ops` shows it; the fields are the keys of its JSON."""

    operator: str
    family: str
    plugin: str
    modes: tuple[str, ...]


@click.command(
    "ops",
    short_help="List operators, or check those of a model.",
    epilog="""\b
    Examples:
      lirpa ops                          every operator
      lirpa ops relu                     those with "relu" in their name
      lirpa ops 'aten.*pool*'            those that match a pattern
      lirpa ops --family unary --json
      lirpa ops --plugin core
      lirpa ops --model model.pt2        a model saved with torch.export.save;
                                         exit code 1 if a rule is missing
    """,
)
@click.argument("pattern", required=False)
@click.option("--plugin", help="Only operators of this plugin.")
@click.option("--family", help="Only operators of this family, such as linear, unary or decomposition.")
@click.option(
    "--model",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Check the operators of this exported model (.pt2) instead.",
)
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    pattern: str | None,
    plugin: str | None,
    family: str | None,
    model: Path | None,
    as_json: bool,
) -> None:
    """List operators with their rule's family, its plugin, and the modes it supports.

    PATTERN is a part of an operator's name, or a pattern with * and ? for the whole name.
    """
    if model is None:
        _list_operators(registry_of(ctx), pattern, plugin, family, as_json)
        return
    if pattern or plugin or family:
        raise click.UsageError("--model checks a whole model; it takes no PATTERN, --plugin or --family.")
    if not _check_model(registry_of(ctx), model, as_json):
        ctx.exit(1)


def operator_rows(registry: Registry) -> list[OperatorRow]:
    """Everything with a rule, and every operator without that a plugin takes apart, sorted by name."""
    ruled = [
        OperatorRow(str(op), entry.rule.family, entry.plugin, tuple(entry.rule.modes))
        for op, entry in registry.operators.items()
    ]
    ruled += [_whole_row(entry) for entry in registry.leaf_modules.values()]
    taken_apart = [
        OperatorRow(str(op), DECOMPOSITION, registry.decompositions[op].plugin, ())
        for op in registry.decomposition_table()
    ]
    return sorted([*ruled, *taken_apart], key=lambda row: row.operator)


def _whole_row(entry: LeafModuleEntry) -> OperatorRow:
    """A class of modules or a function; what makes a rule is shown by no family, because it needs a module."""
    kind = "module" if isinstance(entry.key, type) else "function"
    name = f"{kind} {entry.key.__module__}.{entry.key.__qualname__}"
    rule = entry.rule
    if isinstance(rule, Rule):
        return OperatorRow(name, rule.family, entry.plugin, tuple(rule.modes))
    return OperatorRow(name, DEPENDS, entry.plugin, ())


def _list_operators(
    registry: Registry, pattern: str | None, plugin: str | None, family: str | None, as_json: bool
) -> None:
    rows = operator_rows(registry)
    _check_known("plugin", plugin, [info.name for info in registry.plugins])
    _check_known("family", family, sorted({row.family for row in rows}))
    rows = [
        row
        for row in rows
        if (pattern is None or _matches(row.operator, pattern))
        and (plugin is None or row.plugin == plugin)
        and (family is None or row.family == family)
    ]
    if as_json:
        print_json({"operators": [asdict(row) for row in rows]})
    elif not rows:
        click.echo("no operator matches")
    else:
        columns = ("operator", "family", "plugin", "modes")
        print_table(columns, ((r.operator, r.family, r.plugin, " ".join(r.modes)) for r in rows))


def _matches(name: str, pattern: str) -> bool:
    if any(char in pattern for char in "*?["):
        return fnmatchcase(name, pattern)
    return pattern in name


def _check_known(what: str, value: str | None, known: Sequence[str]) -> None:
    if value is not None and value not in known:
        raise OptionError(f"unknown {what} '{value}'; there are: {', '.join(known) or 'none'}")


def _check_model(registry: Registry, path: Path, as_json: bool) -> bool:
    """Report on a model's operators; whether each has a rule."""
    used = _operators_of(path, registry)
    names = sorted(used, key=str)
    missing = [op for op in names if registry.rule_for(op) is None]
    if as_json:
        operators = [_usage_json(op, used[op], registry) for op in names]
        print_json({"model": str(path), "operators": operators, "missing": [str(op) for op in missing]})
        return not missing
    if not missing:
        click.echo(f"all {len(names)} operators of {path} have a rule")
        return True
    click.echo(f"{len(missing)} of {len(names)} operators of {path} have no rule:\n")
    for op in missing:
        click.echo(f"{op}\n  provider: {advice(op, registry)}")
        for location in used[op]:
            click.echo(f"  at: {location}")
    return False


def _usage_json(op: Any, locations: Sequence[SourceLocation], registry: Registry) -> dict[str, Any]:
    entry = registry.operators.get(op)
    return {
        "operator": str(op),
        "supported": entry is not None,
        "family": entry.rule.family if entry else None,
        "plugin": entry.plugin if entry else None,
        "provider": None if entry else provider_of(op),
        "count": len(locations),
        "locations": [location_json(location) for location in locations],
    }


def _operators_of(path: Path, registry: Registry) -> Mapping[Any, list[SourceLocation]]:
    from lirpa_core.capture.export import operators_of  # only a check of a model needs torch.export's tools

    try:
        program = torch.export.load(path)
    except Exception as error:  # torch raises whatever its readers raise
        raise CaptureError(
            f"cannot read {path} as a model saved with torch.export.save: {type(error).__name__}: "
            f"{' '.join(str(error).split())}"
        ) from error
    return operators_of(program, registry)
