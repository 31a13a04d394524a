"""What every test of the workspace shares: devices, threads, Hypothesis, and the documentation's code."""

from __future__ import annotations

import gc
import importlib
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from sybil import Sybil
from sybil.parsers.myst import PythonCodeBlockParser, SkipParser

# The folder of a package has the package's name, and pytest names a test module after its folders:
# `lirpa_core.tests.test_x`. Unless the package is imported before, the folder would take its place.
for name in (
    "lirpa_core",
    "lirpa_ops_vision",
    "lirpa_ops_nlp",
    "lirpa_perturbations",
    "lirpa_training",
    "lirpa_testing",
    "lirpa_verify",
):
    importlib.import_module(name)

from lirpa_testing import method_names  # noqa: E402 - see above

# Time limits say nothing on a shared machine. On CI a run has to be repeatable.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")

# Each Python block of a page runs, in order, in one namespace a page; so parallel runs have to keep
# files together (`--dist loadfile`). The packages' READMEs are pages too.
pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["README.md", "docs/*.md", "docs/*/*.md"],
).pytest()


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):  # in parallel runs the processes share the cores already
        torch.set_num_threads(1)


def pytest_collection_finish() -> None:
    """Keep what was imported out of the garbage collector's way, which else looks at all of it many times in a capture."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


@pytest.hookimpl(tryfirst=True)  # before the marks decide what runs
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave to `make test-thorough` the cases whose turn it is not: see the mark `in_turn`."""
    for item in items:
        mark = item.get_closest_marker("in_turn")
        if mark is not None and turn_of(item) % mark.args[0]:
            item.add_marker(pytest.mark.thorough)


def turn_of(item: pytest.Item) -> int:
    """The sum of the positions of a case's parameters: where it is constant, each value of one axis meets another of the other."""
    call = getattr(item, "callspec", None)
    return 0 if call is None else sum(call.indices[name] for name in call.indices if name != "methods")


@pytest.fixture(params=["some", pytest.param("every", marks=pytest.mark.thorough)])
def methods(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The methods of the registry: a third of them, of each case of a test the next third; all by `make test-thorough`.

    For tests of at least three cases each of which captures a model and bounds it with one method after the other.
    """
    names = method_names()
    return names if request.param == "every" else names[turn_of(request.node) % 3 :: 3]


@pytest.fixture(
    params=[
        "cpu",
        pytest.param(
            "cuda",
            marks=[
                pytest.mark.cuda,
                pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
            ],
        ),
    ]
)
def device(request: pytest.FixtureRequest) -> torch.device:
    """Every device of this machine, one after the other."""
    return torch.device(request.param)


@dataclass(frozen=True)
class Installed:
    """A throw-away package, installed into a folder of its own.

    Attributes:
        site: The folder.
    """

    site: Path

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run Python with the package on its path, beside what is there already."""
        paths = os.pathsep.join([str(self.site), *filter(None, [os.environ.get("PYTHONPATH")])])
        return subprocess.run(
            [sys.executable, *arguments],
            env={**os.environ, "PYTHONPATH": paths, **environment},
            check=False,
            capture_output=True,
            text=True,
        )

    def printed(self, *arguments: str, **environment: str) -> str:
        """What such a run prints; it has to succeed."""
        done = self.run(*arguments, **environment)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def install(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Installed]:
    """Installs a package of one file: `install(name, pyproject, source)`, by what pip would write, or by pip itself."""

    def make(name: str, pyproject: str, source: str, *, pip: bool = False) -> Installed:
        if not pip:
            return _written(tmp_path_factory.mktemp("site"), name, pyproject, source)
        project, site = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
        (project / "pyproject.toml").write_text(pyproject)
        package = project / "src" / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(source)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
        subprocess.run([*command, "--target", str(site), str(project)], check=True)
        return Installed(site)

    return make


def _written(site: Path, name: str, pyproject: str, source: str) -> Installed:
    """The package and its metadata, as `importlib.metadata` reads them."""
    project = tomllib.loads(pyproject)["project"]
    package, metadata = site / name, site / f"{name}-{project['version']}.dist-info"
    package.mkdir()
    metadata.mkdir()
    (package / "__init__.py").write_text(source)
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *[f"{key} = {value}" for key, value in points.items()]]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return Installed(site)
