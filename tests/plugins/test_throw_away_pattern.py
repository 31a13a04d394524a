"""A package of somebody else's, installed beside ours, brings a pattern: a way of writing, and the operator that it becomes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from lirpa_testing import method_names

if TYPE_CHECKING:
    from conftest import Installed

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "throw-away-pattern"
version = "9.9"

[project.entry-points.lirpa]
throw_away_pattern = "throw_away_pattern"
"""

PLUGIN = '''
"""Mish, written out."""

import torch
from torch import Tensor

from lirpa_core.plugins import PatternRegistry, hookimpl

LIRPA_API_VERSION = 1


def written(x: Tensor) -> Tensor:
    return x * torch.tanh(torch.log(1 + torch.exp(x)))


def mish(x: Tensor) -> Tensor:
    return torch.nn.functional.mish(x)


def wrong(x: Tensor) -> Tensor:
    return torch.relu(x)


@hookimpl
def lirpa_register_patterns(registry: PatternRegistry) -> None:
    registry.register("mish", written, mish)
    registry.register("sine, wrongly", lambda_of_sine, wrong)


def lambda_of_sine(x: Tensor) -> Tensor:
    return torch.sin(x) * x
'''

USE = """
import json, sys
import torch
from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm

def written(x):
    return torch.log1p(x.exp()).tanh() * x + torch.sin(x) * x

def built_in(x):
    return torch.nn.functional.mish(x) + torch.sin(x) * x

x = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
found = {}
for function in (written, built_in):
    bounded = BoundedModule(function, x)
    ball = BoundedTensor(x, PerturbationLpNorm(eps=0.5))
    bounds = [bounded.compute_bounds(x=ball, method=method) for method in sys.argv[1:]]
    operators = [str(n.target) for n in bounded.graph.nodes if n.target is not None]
    found[function.__name__] = [operators, [[lower[0].tolist(), upper[0].tolist()] for lower, upper in bounds]]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def installed(install: Callable[..., Installed]) -> Installed:
    """The package, installed into a folder of its own."""
    return install("throw_away_pattern", PYPROJECT, PLUGIN)


def test_what_is_written_out_is_bounded_as_the_operator(installed: Installed) -> None:
    found = json.loads(installed.printed("-c", USE, *method_names()).splitlines()[-1])
    assert "aten.mish.default" in found["written"][0]
    for method, ours, theirs in zip(method_names(), found["written"][1], found["built_in"][1], strict=True):
        assert ours[0] == pytest.approx(theirs[0]) and ours[1] == pytest.approx(theirs[1]), method
    assert "aten.relu.default" not in found["written"][0]  # the wrong pattern is caught, and left out


def test_disabled_it_is_written_out(installed: Installed) -> None:
    found = json.loads(
        installed.printed("-c", USE, "IBP", LIRPA_DISABLE_PLUGINS="throw_away_pattern").splitlines()[-1]
    )
    assert "aten.mish.default" not in found["written"][0]


def test_the_check_tries_patterns_and_names_the_wrong_one(installed: Installed) -> None:
    done = installed.run("-m", "lirpa_core", "check", "throw_away_pattern", LIRPA_PROFILE="fast")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "'sine, wrongly'" in done.stdout + done.stderr and "'mish'" not in done.stdout + done.stderr
