"""A package of somebody else's, installed by pip, brings rules: for its own operator and for a known one."""

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
name = "throw-away"
version = "9.9"

[project.entry-points.lirpa]
throw_away = "throw_away"
"""

PLUGIN = '''
"""Rules for an operator of one's own, and for one that the core breaks down."""

import torch

from lirpa_core.linear import Affine, Interval, Relaxation
from lirpa_core.linear.operators import Diagonal
from lirpa_core.plugins import hookimpl
from lirpa_core.rules import General

LIRPA_API_VERSION = 1


@torch.library.custom_op("throw_away::double", mutates_args=())
def double(x: torch.Tensor) -> torch.Tensor:
    return 2 * x


@double.register_fake
def _(x):
    return torch.empty_like(x)


def constant_lines(call, lower, upper):
    zero = lower.new_zeros(1, *call.shape)
    term = (Diagonal(zero, call.shapes[0]),)
    return Relaxation(Affine(term, zero + lower), Affine(term, zero + upper))


DOUBLE = General(
    ("x",),
    lambda call, inputs: Interval(2 * inputs[0].lower, 2 * inputs[0].upper),
    lambda call, inputs: Relaxation.exactly(
        Affine((Diagonal(inputs[0].lower.new_full((1, *call.shape), 2.0), call.shapes[0]),))
    ),
)

# Deliberately loose, so that one sees which rule was used: a softmax lies between 0 and 1.
SOFTMAX = General(
    ("self",),
    lambda call, inputs: Interval(torch.zeros_like(inputs[0].lower), torch.ones_like(inputs[0].upper)),
    lambda call, inputs: constant_lines(call, torch.zeros_like(inputs[0].lower), torch.ones_like(inputs[0].upper)),
)


@hookimpl
def lirpa_register_operators(registry):
    registry.register(double, DOUBLE)
    registry.register("aten.softmax.int", SOFTMAX, override=True)
'''

USE = """
import json, sys
import torch
import throw_away
from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.plugins import default_registry

class Model(torch.nn.Module):
    def forward(self, x):
        return throw_away.double(x), torch.softmax(x, -1)

x = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
bounded = BoundedModule(Model(), x, bound_opts={"rounding": "nearest"})
point = BoundedTensor(x, PerturbationLpNorm(eps=0.1))
found = {}
for method in sys.argv[1:]:
    lower, upper = bounded.compute_bounds(x=point, method=method)
    found[method] = {
        "operators": [str(n.target) for n in bounded.graph.nodes if n.target is not None],
        "double": [lower[0].tolist(), upper[0].tolist()],
        "softmax": [lower[1].tolist(), upper[1].tolist()],
        "plugins": [p.name for p in default_registry().plugins],
    }
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def installed(install: Callable[..., Installed]) -> Installed:
    """The package, installed by pip into a folder of its own."""
    return install("throw_away", PYPROJECT, PLUGIN, pip=True)


Found = dict[str, dict[str, object]]


def run(installed: Installed, *methods: str, code: str = USE, **environment: str) -> Found:
    printed = installed.printed("-c", code, *methods, **environment)
    result: Found = json.loads(printed.splitlines()[-1])
    return result


@pytest.fixture(scope="module")
def bounds(installed: Installed) -> Found:
    """What every method says, of one process."""
    return run(installed, *method_names())


@pytest.mark.parametrize("method", method_names())
def test_both_rules_are_picked_up(bounds: Found, method: str) -> None:
    found = bounds[method]
    assert found["operators"] == ["throw_away.double.default", "aten.softmax.int"]
    assert found["softmax"] == [[[0.0, 0.0]], [[1.0, 1.0]]]
    lower, upper = found["double"]  # type: ignore[misc]
    assert lower[0] == pytest.approx([-0.2, 1.8]) and upper[0] == pytest.approx([0.2, 2.2])


def test_a_disabled_plugin_leaves_the_decomposition(installed: Installed) -> None:
    code = USE.replace("return throw_away.double(x), torch", "return x, torch")
    found = run(installed, "CROWN", code=code, LIRPA_DISABLE_PLUGINS="throw_away,nlp")["CROWN"]
    assert "aten.softmax.int" not in found["operators"]
    (lower,), (upper,) = found["softmax"]
    assert all(0 < a < b < 1 for a, b in zip(lower, upper, strict=True))
