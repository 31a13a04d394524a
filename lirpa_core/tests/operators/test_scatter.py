"""Writing into a tensor at constant places, from a constant or perturbed source."""

import pytest
import torch
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.operators import scatter
from lirpa_core.plugins import default_registry
from lirpa_core.rules.call import Call, Operand
from lirpa_testing import method_names
from lirpa_testing.core_cases.scatter import CASES

aten = torch.ops.aten
INT64_MAX = 2**63 - 1


def X(*sizes: int) -> Operand:
    return Operand(sizes)


def C(*sizes: int) -> torch.Tensor:
    return torch.randn(*sizes, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("name", CASES)
def test_exact_in_every_mode(name, oracle):
    call = Call.of(*CASES[name], batch=3)
    rule = default_registry().rule_for(call.node.target)
    oracle.assert_affine(rule, call, default_registry())
    oracle.assert_native(rule, call)


SLICES = [
    (1, 1, 3, 1),
    (-1, 0, 4, 2),
    (0, 2, INT64_MAX, 1),
    (0, -3, -1, 1),
    (1, None, None, 1),
    (0, 3, 1, 1),
    (1, 1, None, 3),
]


@pytest.mark.parametrize("where", SLICES)
def test_assignment_to_a_slice(where, oracle):
    dim, start, end, step = where
    x = C(4, 5)
    places = [slice(None)] * 2
    places[dim] = slice(start, end, step)
    src = x[tuple(places)].float() * 2
    oracle.close(scatter.slice_scatter(x, src, *where), torch.slice_scatter(x, src.double(), *where))


class Assigns(nn.Module):
    def forward(self, x):
        y = torch.zeros_like(x)
        y[:, 2:] = 2 * x[:, :2]
        y[:, 0] = 1
        y[:, 1::2] += x[:, ::2]
        return y


def test_a_model_that_assigns():
    x = torch.randn(2, 4)
    box = BoundedTensor(x, PerturbationLpNorm(norm=float("inf"), eps=0.5))
    for method in method_names():
        lower, upper = BoundedModule(Assigns(), x, bound_opts={"rounding": "nearest"}).compute_bounds(
            x=(box,), method=method
        )
        radius = torch.tensor([0, 0.5, 1, 1.5]).expand(2, 4)
        torch.testing.assert_close(lower, Assigns()(x) - radius)
        torch.testing.assert_close(upper, Assigns()(x) + radius)
