"""Commands that other distributions bring: found, loaded late, and apart from each other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from types import ModuleType

import click
import pytest
from click.testing import Result

from lirpa_core.cli import commands

Lirpa = Callable[..., Result]


@click.command("polish", short_help="Make it shine.")
@click.argument("what")
def polish(what: str) -> None:
    """Make WHAT shine."""
    click.echo(f"{what} shines")


@pytest.fixture
def bring(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts entry points in the place of those that are installed."""
    brought = ModuleType("brought")
    vars(brought).update(polish=polish, number=3)
    monkeypatch.setitem(sys.modules, "brought", brought)

    def put(**values: str | tuple[str, ...]) -> None:
        points = [
            EntryPoint(name, value, commands.GROUP)
            for name, given in values.items()
            for value in ([given] if isinstance(given, str) else given)
        ]

        def entry_points(group: str, name: str | None = None) -> list[EntryPoint]:
            assert group == "lirpa.commands"
            return [p for p in points if name in (None, p.name)]

        monkeypatch.setattr(commands, "entry_points", entry_points)

    return put


def lines_of(help_text: str) -> dict[str, str]:
    rows = help_text.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    return {name: summary for name, _, summary in (row.strip().partition(" ") for row in rows)}


def test_a_command_of_another_distribution(lirpa: Lirpa, bring: Callable[..., None]) -> None:
    bring(polish="brought:polish")
    assert lirpa("polish", "brass").stdout == "brass shines\n"
    assert lines_of(lirpa("--help").stdout)["polish"].strip() == "Make it shine."


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("nowhere_at_all:command", "nowhere_at_all:command raises ModuleNotFoundError"),
        ("brought:missing", "raises AttributeError"),
        ("brought:number", "brought:number is no click.Command, but 3"),
        (("brought:polish", "brought:number"), "both bring `lirpa odd`; uninstall one of them"),
    ],
    ids=str,
)
def test_a_broken_one_leaves_the_others_alone(
    lirpa: Lirpa, bring: Callable[..., None], value: str | tuple[str, ...], says: str
) -> None:
    bring(polish="brought:polish", odd=value)
    listed = lines_of(lirpa("--help").stdout)
    assert listed["odd"].strip() in ("Broken.", "In conflict.")
    assert listed["polish"].strip() == "Make it shine."
    for arguments in ((), ("file", "--option", "3"), ("--help",)):
        result = lirpa("odd", *arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert says in result.stderr and "Traceback" not in result.stderr
    assert lirpa("polish", "brass").exit_code == 0


def test_the_core_s_own_commands_cannot_be_replaced(lirpa: Lirpa, bring: Callable[..., None]) -> None:
    bring(plugins="brought:polish")
    assert lirpa("plugins", "--json").exit_code == 0


def test_a_missing_distribution_is_named(lirpa: Lirpa, bring: Callable[..., None]) -> None:
    bring()
    assert lines_of(lirpa("--help").stdout)["check"].strip() == "Needs lirpa-testing."
    result = lirpa("check", "core", "--profile", "fast")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "pip install lirpa-testing" in result.stderr


def test_help_imports_nothing_that_takes_long() -> None:
    code = (
        "import sys; from lirpa_core.cli.group import cli; cli(['--help'], standalone_mode=False); "
        "print('loaded:', sorted({'hypothesis', 'pytest', 'lirpa_testing.rules'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "\n  check " in done.stdout
    assert done.stdout.endswith("loaded: []\n")
