"""The group `lirpa`: finds the commands, and turns lirpa's errors into one clear message."""

from __future__ import annotations

import importlib.metadata
import warnings
from typing import Any

import click
import torch

from lirpa_core.cli.commands import command_names, find_command
from lirpa_core.errors import LirpaError
from lirpa_core.plugins import LIRPA_API_VERSION, PluginWarning


class Refusal(click.ClickException):
    """An error of lirpa as the command line shows it."""

    exit_code = 2


class LirpaGroup(click.Group):
    """Imports a command when it is asked for; reports `LirpaError`s and warnings without a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands."""
        return command_names()

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command by its name."""
        return find_command(cmd_name)

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
      lirpa methods                    ways to bound a model
      lirpa ops relu                   rules of operators with "relu" in their name
      lirpa ops --model model.pt2      what a model needs that no rule covers
      lirpa explain model.pt2 x.pt --eps 0.01
                                       where its bounds are lost, and what to do
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
