"""A package of somebody else's, installed beside ours, brings branching heuristics, which are used by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Installed

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "by-turns"
version = "9.9"

[project.entry-points."lirpa.branching"]
by_turns = "by_turns"
"""

PLUGIN = '''
"""Heuristics that take one candidate after the other, and count how often they are asked."""

import torch

from lirpa_verify.branching import hookimpl

ASKED = {"inputs": 0, "neurons": 0}


class Inputs:
    def choose(self, boxes):
        ASKED["inputs"] += 1
        return torch.full((len(boxes.lower),), ASKED["inputs"] % boxes.lower.shape[1])


class Neurons:
    def choose(self, neurons):
        ASKED["neurons"] += 1
        return neurons.splittable.long().argmax(1)


@hookimpl
def lirpa_register_branching(registry):
    registry.input_splitting("by turns", Inputs)
    registry.neuron_splitting("first neuron", Neurons)
'''

USE = """
import json, by_turns, torch
from lirpa_core import PerturbationLpNorm
from lirpa_verify import output_in_box, verify

torch.manual_seed(0)
layers = [torch.nn.Linear(2, 10), torch.nn.ReLU(), torch.nn.Linear(10, 10), torch.nn.ReLU(), torch.nn.Linear(10, 1)]
few = torch.nn.Sequential(*layers).double().eval()
# Its inputs are too many to be split, and all but two of them do nothing.
many = torch.nn.Sequential(torch.nn.Linear(30, 2, bias=False), few).double().eval()
many[0].weight.data.zero_()[:, :2] = torch.eye(2)
answers = {}
for name, model, inputs in (("by turns", few, 2), ("first neuron", many, 30)):
    x, ball = torch.zeros(1, inputs).double(), PerturbationLpNorm(eps=1.0)
    low = float(model(ball.sample(x, 100000)[:, 0]).min()) - 1e-2
    answers[name] = verify(model, x, ball, output_in_box(lower=low), branching=name, timeout=60).status
print(json.dumps({"answers": answers, "asked": by_turns.ASKED}))
"""


@pytest.fixture(scope="module")
def installed(install: Callable[..., Installed]) -> Installed:
    """The package, installed into a folder of its own."""
    return install("by_turns", PYPROJECT, PLUGIN)


def test_heuristics_are_used_by_name(installed: Installed) -> None:
    found = json.loads(installed.printed("-c", USE).splitlines()[-1])
    assert found["answers"] == {"by turns": "proved", "first neuron": "proved"}
    assert min(found["asked"].values()) > 0


def test_the_command_lists_them(installed: Installed, absolute_onnx: Path, tmp_path: Path) -> None:
    query = tmp_path / "p.vnnlib"
    query.write_text("(declare-const X_0 Real)")
    done = installed.run(
        "-m", "lirpa_core", "verify", str(absolute_onnx), str(query), "--branching", "by chance"
    )
    assert done.returncode == 1
    assert "by turns" in done.stderr and "first neuron" in done.stderr
