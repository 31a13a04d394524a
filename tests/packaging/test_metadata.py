"""What the packages say about themselves, in their sources and once installed."""

from __future__ import annotations

import importlib
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PLUGINS = {
    "lirpa_core": "core",
    "lirpa_ops_vision": "vision",
    "lirpa_ops_nlp": "nlp",
    "lirpa_perturbations": "perturbations",
    "lirpa_training": "training",
    "lirpa_testing": "testing",
    "lirpa_verify": "verify",
}


def project(package: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / package / "pyproject.toml").read_text())["project"]


def requirements(package: str) -> list[Requirement]:
    table = project(package)
    lines = list(table["dependencies"])
    for extra in table.get("optional-dependencies", {}).values():
        lines += extra
    return [Requirement(line) for line in lines]


@pytest.fixture(params=PLUGINS)
def package(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_package_of_the_design_has_a_folder() -> None:
    for folder in [*PLUGINS, "plugins_template", "tests"]:
        assert any((ROOT / folder).iterdir()), folder


def test_the_distribution_is_named_after_the_package(package: str) -> None:
    assert project(package)["name"] == package.replace("_", "-")


def test_types_are_published(package: str) -> None:
    assert (ROOT / package / "src" / package / "py.typed").is_file()


def test_python_has_a_floor_and_no_ceiling(package: str) -> None:
    assert project(package)["requires-python"] == ">=3.11"


def test_nothing_has_an_upper_limit(package: str) -> None:
    for requirement in requirements(package):
        operators = {specifier.operator for specifier in requirement.specifier}
        assert operators <= {">="}, f"{requirement} needs a reason written beside it, and here"


def test_torch_is_required_from_the_same_version_everywhere(package: str) -> None:
    torch = [r for r in requirements(package) if r.name == "torch"]
    assert [str(r.specifier) for r in torch] == [">=2.11"]


def test_the_core_needs_little() -> None:
    assert {Requirement(line).name for line in project("lirpa_core")["dependencies"]} == {"torch", "pluggy"}


def test_the_core_carries_no_tests() -> None:
    named = {requirement.name for requirement in requirements("lirpa_core")}
    assert not named & {"hypothesis", "lirpa-testing", "pytest", "python-flint"}


@pytest.mark.parametrize("package", sorted({*PLUGINS} - {"lirpa_core"}))
def test_plugins_need_the_core(package: str) -> None:
    named = {requirement.name for requirement in requirements(package)}
    assert "lirpa-core" in named
    assert (
        not {"lirpa-ops-vision", "lirpa-ops-nlp", "lirpa-perturbations", "lirpa-training", "lirpa-verify"}
        & named
    )


def test_every_package_is_a_plugin(package: str) -> None:
    points = dict(project(package)["entry-points"])
    assert points.pop("lirpa") == {PLUGINS[package]: f"{package}.plugin"}
    commands = {name: f"lirpa_verify.commands.{name}:command" for name in ("certify", "verify")}
    others = {
        "lirpa_testing": {
            "lirpa.commands": {"check": "lirpa_testing.command.check:command"},
            "pytest11": {"lirpa_testing": "lirpa_testing.pytest_plugin"},
        },
        "lirpa_verify": {"lirpa.commands": commands},
    }
    assert points == others.get(package, {})


def test_installed_entry_points_are_those_of_the_sources() -> None:
    installed = {point.name: point.value for point in metadata.entry_points(group="lirpa")}
    declared = {short: f"{package}.plugin" for package, short in PLUGINS.items()}
    assert declared.items() <= installed.items()


def test_one_version_for_all(package: str) -> None:
    version = importlib.import_module(f"{package}._version").__version__
    core = importlib.import_module("lirpa_core._version").__version__
    assert version == core == metadata.version(package.replace("_", "-"))
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_license_travels_with_every_package(package: str) -> None:
    assert project(package)["license"] == "BSD-3-Clause"
    assert (ROOT / package / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_the_command_is_installed() -> None:
    (command,) = metadata.entry_points(group="console_scripts", name="lirpa")
    assert command.value == "lirpa_core.cli.main:main"


def test_tested_versions_satisfy_the_declared_ranges(package: str) -> None:
    pinned = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, version = line.partition("==")
            pinned[name.lower().replace("_", "-")] = version
    for requirement in requirements(package):
        if not requirement.name.startswith("lirpa-"):
            assert pinned[requirement.name.lower()] in requirement.specifier, requirement
