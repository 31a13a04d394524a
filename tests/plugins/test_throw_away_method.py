"""A package of somebody else's, installed beside ours, brings a method: Fast-Lin, with one slope below and above."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Installed

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "fast-lin"
version = "9.9"

[project.entry-points.lirpa]
fast_lin = "fast_lin"
"""

PLUGIN = '''
"""Fast-Lin (Weng et al. 2018): CROWN with the slope of the chord below an unstable ReLU as well."""

from dataclasses import dataclass

import torch

from lirpa_core.linear import Affine, Relaxation
from lirpa_core.linear.operators import Diagonal
from lirpa_core.methods import CROWN, by_rule
from lirpa_core.plugins import hookimpl

LIRPA_API_VERSION = 1


def parallel_lines(problem, name, inputs):
    """A ReLU between two lines of one slope; every other operator as its rule chooses."""
    relaxation = by_rule(problem, name, inputs)
    if problem.calls[name].node.target is not torch.ops.aten.relu.default:
        return relaxation
    (chord,) = relaxation.upper.terms
    return Relaxation(Affine((Diagonal(chord.slope, chord.shape),)), relaxation.upper)


@dataclass(frozen=True)
class FastLin(CROWN):
    relax: object = parallel_lines

    name = "Fast-Lin"
    aliases = ("fastlin",)
    summary = "CROWN with parallel lines around every ReLU"


@hookimpl
def lirpa_register_methods(registry):
    registry.register(FastLin())
'''

USE = """
import json, torch
from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import OptionError

torch.manual_seed(0)
layers = [torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2)]
model, x = torch.nn.Sequential(*layers).double(), torch.randn(5, 4).double()
bounded, ptb = BoundedModule(model, x), PerturbationLpNorm(eps=0.3)
point = BoundedTensor(x, ptb)
found, inside = {}, True
for name in ("CROWN", "Fast-Lin", "fastlin"):
    lower, upper = bounded.compute_bounds(x=point, method=name)
    found[name] = float((upper - lower).mean().detach())
    for y in map(model, ptb.sample(x, 300)):
        inside = inside and bool((lower <= y + 1e-9).all() and (y <= upper + 1e-9).all())
try:
    bounded.compute_bounds(x=point, method="fast")
except OptionError as error:
    message = str(error)

from click.testing import CliRunner
from lirpa_core.cli.group import cli
from lirpa_testing import check_method, method_names
from lirpa_testing.conformance import assert_conforms, suite_of

assert "Fast-Lin" in method_names()
suite = suite_of("fast_lin")
print(json.dumps({
    "widths": found,
    "inside": inside,
    "message": message,
    "listed": json.loads(CliRunner().invoke(cli, ["methods", "--json"]).stdout)["methods"],
    "report": str(check_method("Fast-Lin", profile="fast")),
    "items": [str(item) for item in suite.items],
    "sampled": [assert_conforms(i, suite.registry, "fast").sampled for i in suite.items],
}))
"""


@pytest.fixture(scope="module")
def installed(install: Callable[..., Installed]) -> Installed:
    """The package, installed into a folder of its own."""
    return install("fast_lin", PYPROJECT, PLUGIN)


@pytest.fixture(scope="module")
def found(installed: Installed) -> dict[str, Any]:
    """What one process says that has the package installed."""
    result: dict[str, Any] = json.loads(installed.printed("-c", USE).splitlines()[-1])
    return result


def test_the_method_is_found_by_its_names_and_bounds_the_model(found: dict[str, Any]) -> None:
    widths = found["widths"]
    assert found["inside"]
    assert widths["Fast-Lin"] == widths["fastlin"] != widths["CROWN"]
    assert "'Fast-Lin' = 'fastlin' (plugin fast_lin)" in found["message"]


def test_the_command_lists_it_with_its_plugin(found: dict[str, Any]) -> None:
    (mine,) = [method for method in found["listed"] if method["name"] == "Fast-Lin"]
    assert mine["plugin"] == "fast_lin" and mine["aliases"] == ["fastlin"]
    assert [m["name"] for m in found["listed"] if m["plugin"] == "core"][:2] == ["IBP", "forward"]


def test_the_random_graphs_and_the_models_of_the_kit_are_bounded_by_it(found: dict[str, Any]) -> None:
    assert "method 'Fast-Lin': 4 random networks and " in found["report"]


def test_conformance_tries_it(found: dict[str, Any]) -> None:
    assert found["items"] == ["fast_lin::method Fast-Lin[random networks]"] and found["sampled"] == [7]


def test_lirpa_check_prints_it(installed: Installed) -> None:
    printed = installed.printed("-m", "lirpa_core", "check", "fast_lin", "--profile", "fast")
    assert "Fast-Lin" in printed and "0 failed" in printed


def test_the_plugin_is_short() -> None:
    assert len([line for line in PLUGIN.splitlines() if line.strip()]) <= 40
