"""What every test of the workspace shares: devices, threads, Hypothesis, and the documentation's code."""

from __future__ import annotations

import importlib
import os

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
