"""The template makes a package that is clean and whose tests pass, and that notices when it is broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cookiecutter.exceptions import FailedHookException
from cookiecutter.main import cookiecutter

ROOT = Path(__file__).parents[2]
NAME = "lirpa-ops-audio"
DESCRIPTION = "Bounds for audio operators"


def bake(home: Path, **answers: str) -> Path:
    config = home / "config.yaml"  # nothing of the user's own configuration
    config.write_text(f"cookiecutters_dir: {home / 'c'}\nreplay_dir: {home / 'r'}\n")
    template = str(ROOT / "plugins_template")
    output = str(home / "cookiecutter")
    return Path(
        cookiecutter(
            template, no_input=True, output_dir=output, extra_context=answers, config_file=str(config)
        )
    )


@pytest.fixture(scope="module")
def baked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as `lirpa new-plugin` makes it."""
    home = tmp_path_factory.mktemp("bake")
    made = python(
        ["lirpa_core", "new-plugin", NAME, "--output", str(home), "--description", DESCRIPTION], home
    )
    assert made.returncode == 0, made.stderr
    return home / NAME


@pytest.fixture(scope="module")
def installed(baked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, installed by pip into an empty folder."""
    site = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--target", str(site)]
    done = python(["pip", "install", *options, str(baked)], baked)
    assert done.returncode == 0, done.stdout + done.stderr
    return site


def python(arguments: list[str], where: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    sources = [str(path)] if path else []
    sources += [p for p in [os.environ.get("PYTHONPATH")] if p]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))}
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=where,
        env=environment | {"PYTHONPATH": os.pathsep.join(sources), "LIRPA_PROFILE": "fast"},
        capture_output=True,
        text=True,
        check=False,
    )


def own_tests(where: Path, site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return python(["pytest", "-q", "-p", "no:cacheprovider", "-c", "pyproject.toml", *arguments], where, site)


def files(folder: Path) -> dict[str, str]:
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    return {name: p.read_text() for name, p in found.items() if "__pycache__" not in name}


def test_cookiecutter_makes_the_same(baked: Path, tmp_path: Path) -> None:
    assert files(bake(tmp_path, package_name=NAME, description=DESCRIPTION)) == files(baked)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"package_name": "3d-ops"}, "module_name '3d_ops' is no Python identifier"),
        ({"package_name": "a b"}, "package_name 'a b' is no name for a package"),
        ({"package_name": "mine", "plugin_name": "a-b"}, "plugin_name 'a-b' is no Python identifier"),
    ],
)
def test_cookiecutter_refuses_bad_names(
    tmp_path: Path, answers: dict[str, str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(FailedHookException):
        bake(tmp_path, **answers)
    assert message in capfd.readouterr().err
    assert not list((tmp_path / "cookiecutter").iterdir())


def test_the_entry_point_names_the_plugin_module(baked: Path) -> None:
    project = tomllib.loads((baked / "pyproject.toml").read_text())["project"]
    assert project["name"] == NAME
    assert project["entry-points"] == {"lirpa": {"audio": "lirpa_ops_audio.plugin"}}
    assert (baked / "src" / "lirpa_ops_audio" / "py.typed").is_file()


def test_no_placeholder_is_left(baked: Path) -> None:
    for name, content in files(baked).items():
        assert "cookiecutter" not in name + content, name


def test_lirpa_finds_it_once_it_is_installed(installed: Path, tmp_path: Path) -> None:
    done = python(["lirpa_core", "plugins", "--json"], tmp_path, installed)
    (row,) = (p for p in json.loads(done.stdout)["plugins"] if p["name"] == "audio")
    assert (row["status"], row["distribution"], row["operators"], row["perturbations"]) == ("ok", NAME, 5, 1)


#: What is broken, how, and the test that has to notice.
FAULTS = (
    (
        'Linear(("x",), sign=mixed)',
        'Linear(("x",))',
        "tests/test_conformance.py::test_conforms[lirpa_ops_audio::function lirpa_ops_audio.functions.differences[four elements]]",
    ),
    (
        "flat), upper))",
        "flat), 0.9 * upper))",
        "tests/test_conformance.py::test_conforms[lirpa_ops_audio::lirpa_ops_audio.length.default[both sides]]",
    ),
    (
        "torch.ones_like(x)).abs()",
        "torch.ones_like(x))",
        "tests/test_conformance.py::test_conforms[lirpa_ops_audio::perturbation audio_brightness[eps 0.3]]",
    ),
)


@pytest.mark.slow
def test_they_fail_when_it_is_broken(baked: Path, tmp_path: Path) -> None:
    package = tmp_path / "lirpa_ops_audio"
    package.mkdir()
    for source in (baked / "src" / "lirpa_ops_audio").glob("*.py"):
        content = source.read_text()
        for right, wrong, _ in FAULTS:
            content = content.replace(right, wrong)
        (package / source.name).write_text(content)
    done = own_tests(baked, tmp_path, *(test for *_, test in FAULTS))
    assert done.returncode == 1
    for _, wrong, test in FAULTS:
        assert f"FAILED {test}" in done.stdout, (wrong, done.stdout)


def test_it_is_clean(baked: Path) -> None:
    rules = ["--config", str(ROOT / "pyproject.toml"), "--config", "src = ['src']"]
    for command in (
        ["ruff", "check", "."],
        ["ruff", "check", *rules, "."],
        ["ruff", "format", "--check", "."],
        ["mypy", "--strict", "src"],
    ):
        done = python(command, baked)
        assert done.returncode == 0, done.stdout + done.stderr
