"""Writing into a tensor at constant places, from a constant or perturbed source."""

import pytest
import torch
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import InputError
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


REDUCTIONS = ("sum", "mean", "prod", "amax", "amin")
INTO = {
    "along the last": (C(2, 3), -1, torch.tensor([[0, 2, 0, 2], [1, 1, 1, 1]]), C(2, 4)),
    "along the first": (C(3, 2), 0, torch.tensor([[0, 1], [0, 0]]), C(2, 2)),
    "part of the source": (C(2, 3), 1, torch.tensor([[0, 2], [1, 1]]), C(3, 4)),
    "a number": (C(1)[0], 0, torch.tensor(0), C(2)[1]),
}


@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("name", INTO)
def test_scatter_reduce_has_the_values_of_pytorchs(reduce, include_self, name, oracle):
    x, dim, index, src = INTO[name]
    expected = torch.scatter_reduce(x, dim, index, src, reduce, include_self=include_self)
    oracle.close(scatter.scatter_reduce(x, dim, index, src, reduce, include_self=include_self), expected)


def test_an_index_that_covers_a_part_is_refused():
    with pytest.raises(InputError, match="does not cover"):
        scatter.scatter_reduce(C(3, 2), 1, torch.tensor([[0, 1]]), C(3, 2), "sum")


class Pools(nn.Module):
    def __init__(self, reduce, include_self):
        super().__init__()
        self.reduce, self.include_self = reduce, include_self
        self.register_buffer("index", torch.tensor([0, 2, 0, 2]))

    def forward(self, x):
        index = self.index.expand(x.shape[0], 4)
        into = torch.zeros(x.shape[0], 3, dtype=x.dtype)
        return into.scatter_reduce(1, index, x, self.reduce, include_self=self.include_self)


@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("include_self", [True, False])
def test_scatter_reduce_is_bounded(reduce, include_self):
    model, x = Pools(reduce, include_self), C(3, 4)
    corners = torch.cartesian_prod(*[torch.tensor([-0.4, 0.4], dtype=torch.float64)] * 4)
    values = torch.stack([model(x + corner) for corner in corners])
    for method in ("IBP", "CROWN"):
        lower, upper = BoundedModule(model, x).compute_bounds(
            x=BoundedTensor(x, PerturbationLpNorm(eps=0.4)), method=method
        )
        assert (lower <= values.amin(0) + 1e-9).all() and (values.amax(0) - 1e-9 <= upper).all()
        if method == "IBP" or reduce in ("sum", "mean"):  # the range is reached at corners
            torch.testing.assert_close(lower, values.amin(0))
            torch.testing.assert_close(upper, values.amax(0))


def test_masked_scatter_has_the_values_of_pytorchs(oracle):
    x, source, mask = C(2, 3), C(4), torch.tensor([[True, False, True], [False, True, False]])
    oracle.close(scatter.masked_scatter(x, mask, source), x.masked_scatter(mask, source))
    oracle.close(scatter.masked_scatter(x, ~mask & mask, source), x)
