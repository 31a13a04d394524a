"""The linear part of a call and its transpose are adjoint to each other."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lirpa_core.errors import UnsupportedOperandError
from lirpa_core.rules import Call, Operand
from lirpa_core.rules.transposition import CallOp, linear_part, transpose

aten = torch.ops.aten


@torch.library.custom_op("lirpa_test_transposition::halves", mutates_args=())
def halves(x: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """`factor` times the mean of each two neighbours, with a derivative as `torch.library` wants it."""
    return (x[..., ::2] + x[..., 1::2]) / 2 * factor


@halves.register_fake
def _(x: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    return x.new_empty(*x.shape[:-1], x.shape[-1] // 2)


def _save(ctx: Any, inputs: tuple[torch.Tensor, torch.Tensor], output: torch.Tensor) -> None:
    ctx.save_for_backward(inputs[1])


def _backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
    (factor,) = ctx.saved_tensors
    return (gradient * factor / 2).repeat_interleave(2, -1), None


halves.register_autograd(_backward, setup_context=_save)


@torch.library.custom_op("lirpa_test_transposition::underivable", mutates_args=())
def underivable(x: torch.Tensor) -> torch.Tensor:
    """A linear operator that has no derivative."""
    return x * 2


@underivable.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


CALLS = {
    "linear layer": (
        Call.of(aten.linear.default, Operand((2, 3)), draw(4, 3), draw(4)),
        0,
        {"input", "bias"},
    ),
    "sum of two": (Call.of(aten.add.Tensor, Operand((2, 3)), Operand((1, 3)), alpha=2), 1, {"self", "other"}),
    "custom operator": (
        Call.of(torch.ops.lirpa_test_transposition.halves.default, Operand((3, 4)), draw(3, 2)),
        0,
        {"x"},
    ),
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


def test_a_custom_operator_without_a_derivative_is_refused_with_what_to_do() -> None:
    call = Call.of(torch.ops.lirpa_test_transposition.underivable.default, Operand((3,)))
    with pytest.raises(UnsupportedOperandError, match=r"underivable.*(\n|.)*register_autograd"):
        transpose(linear_part(call, 0, {"x"}), draw(2, 1, 3))
