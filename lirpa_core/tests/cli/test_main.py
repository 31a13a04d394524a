"""The command as a whole: entry points, help, version, errors."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import torch
from click.testing import Result

import lirpa_core
from lirpa_core.cli import commands
from lirpa_core.cli.main import main
from lirpa_core.errors import OptionError
from lirpa_core.plugins import PluginWarning


def test_the_group_lists_its_commands(lirpa: Callable[..., Result]) -> None:
    result = lirpa("--help")
    assert result.exit_code == 0
    listed = result.stdout.partition("Commands:\n")[2].partition("\n\n")[0]
    assert [line.split()[0] for line in listed.splitlines()] == commands.command_names()


@pytest.mark.parametrize("command", [(), *((name,) for name in commands.command_names())], ids=str)
def test_every_help_has_examples(lirpa: Callable[..., Result], command: tuple[str, ...]) -> None:
    result = lirpa(*command, "-h")
    assert result.exit_code == 0
    assert "Examples:\n    lirpa " in result.stdout


def test_version(lirpa: Callable[..., Result]) -> None:
    result = lirpa("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("lirpa-core ")
    assert f"plugin API 1, torch {torch.__version__}" in result.stdout


def test_an_unknown_command_is_a_usage_error(lirpa: Callable[..., Result]) -> None:
    result = lirpa("polish")
    assert result.exit_code == 2
    assert "No such command 'polish'" in result.stderr


def test_errors_are_one_line_without_a_traceback(
    lirpa: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command("plugins")
    def command() -> None:
        raise OptionError("that is wrong")

    monkeypatch.setattr("lirpa_core.cli.plugins.command", command)
    result = lirpa("plugins")
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", "Error: that is wrong\n")


def test_errors_that_are_not_ours_are_not_hidden(
    lirpa: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command("plugins")
    def command() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("lirpa_core.cli.plugins.command", command)
    assert isinstance(lirpa("plugins").exception, ZeroDivisionError)


def test_warnings_go_to_stderr_in_one_line(
    lirpa: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command("plugins")
    def command() -> None:
        warnings.warn("mind the gap", PluginWarning, stacklevel=1)

    monkeypatch.setattr("lirpa_core.cli.plugins.command", command)
    result = lirpa("plugins")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "Warning: mind the gap\n")


@pytest.mark.parametrize("package", ["click", "rich"])
def test_a_missing_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    message = f"the command lirpa needs the package {package}; install with: pip install 'lirpa-core[cli]'\n"
    assert capsys.readouterr().err == message


def test_main_runs_the_group(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["anything", "ops", "--help"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("Usage: lirpa ops ")


def test_python_m_runs_the_command() -> None:
    source = str(Path(lirpa_core.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "lirpa_core", "--version"],
        env=os.environ | {"PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("lirpa-core ")
