"""The group `lirpa`: finds the commands, and turns lirpa's errors into one clear message."""

from __future__ import annotations

import importlib
import importlib.metadata
import warnings
from typing import Any, Final

import click
import torch

from lirpa_core.errors import LirpaError, PluginError
from lirpa_core.registry import LIRPA_API_VERSION, PluginWarning

#: The commands, by the module that defines each one as `command`. One file and one line here make one.
COMMANDS: Final = {
    "check": "lirpa_core.cli.check",
    "new-plugin": "lirpa_core.cli.new_plugin",
    "ops": "lirpa_core.cli.ops",
    "plugins": "lirpa_core.cli.plugins",
}


#: The entry-point group under which installed packages add commands: a name, and the module that has it as `command`.
COMMANDS_GROUP: Final = "lirpa.commands"


def _added() -> dict[str, importlib.metadata.EntryPoint]:
    """Commands of installed packages, by name; those of this package come first."""
    points = importlib.metadata.entry_points(group=COMMANDS_GROUP)
    return {point.name: point for point in points if point.name not in COMMANDS}


def _broken(name: str, message: str) -> click.Command:
    """Stands for a command that cannot be loaded, so that help still lists the others."""

    def fail() -> None:
        raise PluginError(message)

    return click.Command(name, callback=fail, short_help="(cannot be loaded)", help=message)


class Refusal(click.ClickException):
    """An error of lirpa as the command line shows it."""

    exit_code = 2


class LirpaGroup(click.Group):
    """Imports a command when it is asked for; reports `LirpaError`s and warnings without a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands."""
        return sorted([*COMMANDS, *_added()])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command by its name."""
        added = {} if cmd_name in COMMANDS else _added()
        if cmd_name not in COMMANDS and cmd_name not in added:
            return None
        module = COMMANDS.get(cmd_name) or added[cmd_name].value
        try:
            command: click.Command = importlib.import_module(module).command
        except (ImportError, AttributeError) as error:
            return _broken(cmd_name, f"the command '{cmd_name}' ({module}) cannot be loaded: {error}")
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a `LirpaError` ends it with exit code 2."""
        with warnings.catch_warnings():
            warnings.simplefilter("default", PluginWarning)  # even where Python runs with -W error
            warnings.showwarning = _show_warning
            try:
                return super().invoke(ctx)
            except LirpaError as error:
                raise Refusal(str(error)) from error


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    click.echo(f"Warning: {message}", err=True)


def _version() -> str:
    try:
        version = importlib.metadata.version("lirpa-core")
    except importlib.metadata.PackageNotFoundError:
        version = "(not installed, running from source)"
    return f"lirpa-core {version}, plugin API {LIRPA_API_VERSION}, torch {torch.__version__}"


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(_version())
        ctx.exit()


@click.group(
    cls=LirpaGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
    Examples:
      lirpa plugins                    what is installed, and whether it loads
      lirpa ops relu                   rules of operators with "relu" in their name
      lirpa ops --model model.pt2      what a model needs that no rule covers
      lirpa check lirpa-ops-mine       whether its rules keep their promises
      lirpa new-plugin lirpa-ops-mine  a new package with rules of one's own

    \b
    Installed packages may add commands.
    """,
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the versions of lirpa-core, its plugin API and torch.",
)
def cli() -> None:
    """Guaranteed bounds of PyTorch models: see what is installed and what a model needs."""
