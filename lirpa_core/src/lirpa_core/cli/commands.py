"""Which commands `lirpa` has: the core's own, and those that other distributions bring.

A distribution brings one by an entry point of the group `lirpa.commands`, whose name is the command's and whose value
is a `click.Command`:

    [project.entry-points."lirpa.commands"]
    check = "lirpa_testing.command.check:command"

`lirpa --help` imports the module of every command, for its one-line summary. So such a module, and the packages around
it, import what takes time inside the function. One that does not import is shown as broken, and the others work.
"""

from __future__ import annotations

import importlib
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

import click

from lirpa_core.errors import PluginError

#: Entry-point group of commands.
GROUP: Final = "lirpa.commands"

#: The core's own commands, by the module that defines each one as `command`. Nobody can replace them.
COMMANDS: Final = {
    "explain": "lirpa_core.cli.explain",
    "methods": "lirpa_core.cli.methods",
    "new-plugin": "lirpa_core.cli.new_plugin",
    "ops": "lirpa_core.cli.ops",
    "plugins": "lirpa_core.cli.plugins",
}

#: Distributions that bring a command, for advice where they are not installed.
PROVIDERS: Final = {"check": "lirpa-testing", "certify": "lirpa-verify", "verify": "lirpa-verify"}


def command_names() -> list[str]:
    """Names of all commands, those included that need a distribution which is not installed."""
    return sorted({*COMMANDS, *PROVIDERS, *(point.name for point in entry_points(group=GROUP))})


def find_command(name: str) -> click.Command | None:
    """Import a command.

    Args:
        name: Its name.

    Returns:
        The command; one that only says what is wrong, where it cannot be had; None where there is none of that name.
    """
    if name in COMMANDS:
        own: click.Command = importlib.import_module(COMMANDS[name]).command
        return own
    points = list(entry_points(group=GROUP, name=name))
    if not points:
        provider = PROVIDERS.get(name)
        advice = f"`lirpa {name}` comes with {provider}; install it with: pip install {provider}"
        return None if provider is None else _unavailable(name, f"Needs {provider}.", advice)
    if len(points) > 1:
        origins = " and ".join(sorted(map(_origin, points)))
        return _unavailable(
            name, "In conflict.", f"{origins} both bring `lirpa {name}`; uninstall one of them"
        )
    return _load(points[0])


def _load(point: EntryPoint) -> click.Command:
    what = f"`lirpa {point.name}` of {_origin(point)} cannot be used: {point.value}"
    try:
        loaded = point.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001  a plugin is foreign code, it may raise anything
        return _unavailable(point.name, "Broken.", f"{what} raises {type(error).__name__}: {error}")
    if not isinstance(loaded, click.Command):
        return _unavailable(point.name, "Broken.", f"{what} is no click.Command, but {loaded!r}")
    return loaded


def _unavailable(name: str, summary: str, message: str) -> click.Command:
    """A command that stands in a list, takes any arguments, and raises."""

    def refuse(**_: Any) -> None:
        raise PluginError(message)

    return click.Command(
        name,
        params=[click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)],
        callback=refuse,
        short_help=summary,
        add_help_option=False,
        context_settings={"ignore_unknown_options": True},
    )


def _origin(point: EntryPoint) -> str:
    return f"distribution '{point.dist.name}'" if point.dist else point.value
