"""The plugin template produces a package that is clean and whose own tests pass."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cookiecutter.main import cookiecutter

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def baked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("bake")
    config = home / "config.yaml"  # nothing of the user's own configuration
    config.write_text(f"cookiecutters_dir: {home / 'c'}\nreplay_dir: {home / 'r'}\n")
    answers = {"package_name": "lirpa-ops-audio", "description": "Bounds for audio operators"}
    template = str(ROOT / "plugins_template")
    return Path(
        cookiecutter(
            template, no_input=True, output_dir=str(home), extra_context=answers, config_file=str(config)
        )
    )


def run(command: list[str], where: Path) -> None:
    sources = os.pathsep.join([str(where / "src"), os.environ.get("PYTHONPATH", "")])
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=where,
        env=environment | {"PYTHONPATH": sources},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_entry_point_names_the_plugin_module(baked: Path) -> None:
    project = tomllib.loads((baked / "pyproject.toml").read_text())["project"]
    assert project["name"] == "lirpa-ops-audio"
    assert project["entry-points"] == {"lirpa": {"audio": "lirpa_ops_audio.plugin"}}
    assert (baked / "src" / "lirpa_ops_audio" / "py.typed").is_file()


def test_no_placeholder_is_left(baked: Path) -> None:
    for path in baked.rglob("*"):
        assert "cookiecutter" not in path.name
        if path.is_file():
            assert "cookiecutter" not in path.read_text(), path


def test_its_own_tests_pass(baked: Path) -> None:
    run(["pytest", "-q", "-p", "no:cacheprovider", "-c", "pyproject.toml"], baked)


def test_it_is_clean(baked: Path) -> None:
    config = str(ROOT / "pyproject.toml")
    run(["ruff", "check", "--config", config, "."], baked)
    run(["ruff", "format", "--check", "--config", config, "."], baked)
    run(["mypy", "--strict", "src"], baked)
