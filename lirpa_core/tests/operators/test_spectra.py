"""Eigenvalues, singular values and exponentials, against samples and against what is known by hand."""

import pytest
import torch

from lirpa_core.linear.interval import Interval
from lirpa_core.plugins import default_registry
from lirpa_core.rules import Call, Operand

aten = torch.ops.aten
CASES = {
    "eigvalsh": (aten.linalg_eigvalsh.default, (), lambda A: torch.linalg.eigvalsh(A)),
    "eigvalsh, upper": (aten.linalg_eigvalsh.default, ("U",), lambda A: torch.linalg.eigvalsh(A, "U")),
    "svdvals": (aten.linalg_svdvals.default, (), torch.linalg.svdvals),
    "matrix_exp": (aten.linalg_matrix_exp.default, (), torch.linalg.matrix_exp),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [0.0, 1e-3, 0.5, 100.0])
@pytest.mark.parametrize("name", CASES)
def test_samples_are_inside(name, scale, dtype):
    op, rest, function = CASES[name]
    scale = min(scale, 2.0) if name == "matrix_exp" else scale
    generator = torch.Generator().manual_seed(3)
    lower = torch.randn(5, 3, 3, generator=generator).to(dtype) * max(scale, 1.0)
    upper = lower + scale * torch.rand(5, 3, 3, generator=generator).to(dtype)
    call = Call.of(op, Operand((3, 3), dtype), *rest)
    found = default_registry().rule_for(op).interval(call, (Interval(lower, upper),))
    shares = torch.rand(300, 5, 3, 3, generator=generator, dtype=torch.float64)
    shares = torch.cat([shares, shares.round()])
    values = function(lower.double() + shares * (upper.double() - lower.double()))
    assert (found.lower.double() <= values).all() and (values <= found.upper.double()).all()


@pytest.mark.parametrize(
    ("dtype", "scale"), [(torch.float32, 1e-25), (torch.float32, 1e25), (torch.float64, 1e-170)]
)
@pytest.mark.parametrize("name", ["eigvalsh", "svdvals"])
def test_what_squares_cannot_hold(name, dtype, scale):
    op, rest, function = CASES[name]
    lower = scale * torch.tensor([[[2.0, 1.0], [1.0, 2.0]]], dtype=dtype)
    upper = lower + scale
    found = (
        default_registry()
        .rule_for(op)
        .interval(Call.of(op, Operand((2, 2), dtype), *rest), (Interval(lower, upper),))
    )
    for corner in (lower, upper):
        values = function(corner.double() / scale) * scale
        assert (found.lower.double() <= values).all() and (values <= found.upper.double()).all()
    assert (found.upper - found.lower <= 4.1 * scale).all()


def test_a_multiple_of_the_identity():
    A = 2 * torch.eye(2, dtype=torch.float64)[None]
    call = Call.of(aten.linalg_eigvalsh.default, Operand((2, 2)))
    radius = torch.tensor([[[0.0, 0.5], [0.5, 0.0]]], dtype=torch.float64)
    found = default_registry().rule_for(call.node.target).interval(call, (Interval(A - radius, A + radius),))
    torch.testing.assert_close(found.lower, torch.full((1, 2), 1.5, dtype=torch.float64))
    torch.testing.assert_close(found.upper, torch.full((1, 2), 2.5, dtype=torch.float64))
