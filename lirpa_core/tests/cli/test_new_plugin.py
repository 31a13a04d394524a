"""`lirpa new-plugin`: what it writes, and what it refuses to write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from lirpa_core.cli import new_plugin

Lirpa = Callable[..., Result]


def test_makes_a_package(lirpa: Lirpa, tmp_path: Path) -> None:
    result = lirpa("new-plugin", "lirpa-ops-sound", "--output", str(tmp_path / "new"), "--author", "Ada")
    assert result.exit_code == 0, result.output
    target = tmp_path / "new" / "lirpa-ops-sound"
    assert f"cd {target}" in result.stdout and "pip install -e '.[test]'" in result.stdout
    assert (target / "src" / "lirpa_ops_sound" / "plugin.py").is_file()
    project = (target / "pyproject.toml").read_text()
    assert 'sound = "lirpa_ops_sound.plugin"' in project and 'name = "Ada"' in project
    assert not any("cookiecutter" in f.read_text() for f in target.rglob("*") if f.is_file())


def test_names_can_be_chosen(lirpa: Lirpa, tmp_path: Path) -> None:
    given = ("--module", "sounds", "--plugin", "noise", "--description", "Bounds of sounds")
    result = lirpa("new-plugin", "3d-sound", "--output", str(tmp_path), *given)
    assert result.exit_code == 0, result.output
    project = (tmp_path / "3d-sound" / "pyproject.toml").read_text()
    assert 'noise = "sounds.plugin"' in project and 'description = "Bounds of sounds"' in project


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["3d-ops"], "the module would be called '3d_ops', which is no Python identifier"),
        (["class"], "the module would be called 'class', which is no Python identifier"),
        (["größe"], "'größe' is no name for a package"),
        (["a/b"], "'a/b' is no name for a package"),
        ([".."], "'..' is no name for a package"),
        (["ops-"], "'ops-' is no name for a package"),
        (["mine", "--plugin", "a-b"], "the plugin would be called 'a-b', which is no Python identifier"),
        (["mine", "--module", "a.b"], "the module would be called 'a.b', which is no Python identifier"),
        (["torch"], "a module 'torch' is installed already"),
        (["lirpa-core"], "a module 'lirpa_core' is installed already"),
        (["json"], "a module 'json' is installed already"),
        (["lirpa-ops-core"], "the plugin name 'core' is reserved"),
        (["mine", "--author", 'A "B" C'], "--author must be one line without double quotes"),
        (["mine", "--description", "a\nb"], "--description must be one line"),
    ],
)
def test_bad_names(lirpa: Lirpa, tmp_path: Path, arguments: list[str], message: str) -> None:
    result = lirpa("new-plugin", *arguments, "--output", str(tmp_path))
    assert result.exit_code == 2 and message in result.stderr
    assert "Traceback" not in result.output and not list(tmp_path.iterdir())


def test_nothing_is_overwritten(lirpa: Lirpa, tmp_path: Path) -> None:
    for kind in ("folder", "file"):
        target = tmp_path / kind / "mine"
        if kind == "folder":
            target.mkdir(parents=True)
        else:
            target.parent.mkdir()
            target.write_text("precious")
        result = lirpa("new-plugin", "mine", "--output", str(target.parent))
        assert result.exit_code == 2 and f"{target} exists already" in result.stderr
    assert target.read_text() == "precious"


def test_a_place_that_cannot_be_written(lirpa: Lirpa, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = lirpa("new-plugin", "mine", "--output", str(tmp_path / "file" / "below"))
    assert result.exit_code == 2 and "cannot write" in result.stderr


def test_an_installation_without_the_template(
    lirpa: Lirpa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new_plugin.lirpa_core, "__file__", str(tmp_path / "a" / "b" / "c" / "__init__.py"))
    result = lirpa("new-plugin", "mine", "--output", str(tmp_path))
    assert result.exit_code == 2 and "lacks the template" in result.stderr
