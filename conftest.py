"""What every test of the workspace shares: devices, threads, Hypothesis, and the documentation's code."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
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
    """A throw-away package, installed by pip into a folder of its own.

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
def install(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str, str], Installed]:
    """Installs a package of one file: `install(name, pyproject, source)`."""

    def make(name: str, pyproject: str, source: str) -> Installed:
        project, site = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
        (project / "pyproject.toml").write_text(pyproject)
        package = project / "src" / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(source)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
        subprocess.run([*command, "--target", str(site), str(project)], check=True)
        return Installed(site)

    return make
