"""`lirpa check`: the report, its exit code, and results that are kept."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result
from registered import BAD, GOOD, registry_of

from lirpa_core.cli.group import cli
from lirpa_core.plugins import Registry


def lirpa(*arguments: str, registry: Registry) -> Result:
    return CliRunner().invoke(cli, ["check", *arguments], obj=registry, prog_name="lirpa")


def test_the_command_prints_the_report_and_fails() -> None:
    registry = registry_of(GOOD, BAD)
    good = lirpa("good", "--profile", "fast", "-k", "bell", registry=registry)
    assert good.exit_code == 0, good.output
    head, *rows = good.stdout.splitlines()
    assert head.split()[:3] == ["plugin", "subject", "mode"] and len(rows) == 4
    assert "1 subjects" in rows[-1] and "0 failed" in rows[-1]
    bad = lirpa("--all", "--profile", "fast", "--json", registry=registry)
    assert bad.exit_code == 1
    data = json.loads(bad.stdout)
    assert not data["passed"] and {row["plugin"] for row in data["rows"] if row["failed"]} == {"bad"}


def test_bad_usage() -> None:
    registry = registry_of(GOOD)
    for arguments, says in (
        ((), "name one or more packages, or say --all"),
        (("good", "--all"), "name one or more packages, or say --all"),
        (("nowhere",), "no plugin, distribution or module 'nowhere'"),
        (("good", "--profile", "hard"), "there is no profile 'hard'"),
        (("good", "-k", "zzz"), "nothing that is registered has 'zzz'"),
    ):
        result = lirpa(*arguments, registry=registry)
        assert result.exit_code == 2
        assert says in result.stderr


def test_results_are_saved_and_not_run_again(tmp_path: Path) -> None:
    registry, file = registry_of(GOOD), tmp_path / "results.json"
    arguments = ("good", "--profile", "fast", "--save", str(file))
    first = lirpa(*arguments, "-k", "bell", registry=registry)
    assert first.exit_code == 0
    lines = file.read_text().splitlines()
    assert len(lines) == 2 and json.loads(lines[1])["subject"].endswith("bell")
    changed = json.loads(lines[1]) | {"examples": 12345}
    file.write_text(f"{lines[0]}\n{json.dumps(changed)}\n")
    assert "12345" in lirpa(*arguments, registry=registry).stdout
    other = lirpa("good", "--profile", "ci", "--save", str(file), registry=registry)
    assert other.exit_code == 2 and "results of another run" in other.stderr
    file.write_text("nonsense\n")
    assert "no file that `lirpa check --save` wrote" in lirpa(*arguments, registry=registry).stderr
