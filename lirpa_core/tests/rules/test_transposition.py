"""The linear part of a call and its transpose are adjoint to each other."""

from __future__ import annotations

import pytest
import torch

from lirpa_core.rules import Call, Operand
from lirpa_core.rules.transposition import CallOp, linear_part, transpose

aten = torch.ops.aten


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


CALLS = {
    "linear layer": (
        Call.of(aten.linear.default, Operand((2, 3)), draw(4, 3), draw(4)),
        0,
        {"input", "bias"},
    ),
    "sum of two": (Call.of(aten.add.Tensor, Operand((2, 3)), Operand((1, 3)), alpha=2), 1, {"self", "other"}),
    "running sum": (Call.of(aten.cumsum.default, Operand((3, 2)), 0), 0, {"self"}),
}


@pytest.mark.parametrize("name", CALLS)
def test_adjoint_and_without_a_constant_term(name: str) -> None:
    call, slot, zeroed = CALLS[name]
    part = linear_part(call, slot, zeroed)
    assert part.shapes == (call.shapes[slot],)
    x, A = draw(4, *call.shapes[slot], seed=1), draw(5, 4, *call.shape, seed=2)
    assert not bool(part.evaluate([0 * x]).any())
    y, back = part.evaluate([x]), transpose(part, A)
    assert back.shape == (5, 4, *call.shapes[slot])
    torch.testing.assert_close((A * y).flatten(2).sum(-1), (back * x).flatten(2).sum(-1))
    op = CallOp(part, part)
    torch.testing.assert_close(op.apply(x), y)
    torch.testing.assert_close(op.transpose(A), back)
