"""A call runs its operator on any leading dimensions as on one example after the other."""

from __future__ import annotations

import pytest
import torch

from lirpa_core.rules import Call, Const, Operand

aten = torch.ops.aten


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


CALLS = {
    "one operand": Call.of(aten.softmax.int, Operand((2, 3)), -1),
    "a constant": Call.of(aten.mul.Tensor, Operand((2, 3)), draw(2, 3)),
    "a constant of each example": Call.of(
        aten.mul.Tensor, Operand((2, 3)), Const(draw(4, 2, 3), batched=True), batch=4
    ),
    "a list": Call.of(aten.cat.default, [Operand((2, 3)), draw(1, 3)], 0),
    "a function": Call.of(lambda x, y: x @ y, Operand((2, 3)), Operand((3, 2))),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("lead", [1, 2])
def test_batched_is_one_after_the_other(name: str, lead: int) -> None:
    call = CALLS[name]
    leading = (4,) if lead == 1 else (5, 4)
    xs = [draw(*leading, *shape, seed=i) for i, shape in enumerate(call.shapes)]
    found = call.evaluate(xs, lead=lead)
    assert found.shape == (*leading, *call.shape)
    flat = [x.reshape(-1, *shape) for x, shape in zip(xs, call.shapes, strict=True)]
    for i, value in enumerate(found.reshape(-1, *call.shape)):
        constants = [c.value[i % 4] if c.batched else c.value for c in call.constants]
        torch.testing.assert_close(value, call.function([x[i] for x in flat], constants))


def test_slots_by_name() -> None:
    call = Call.of(aten.linear.default, Operand((2, 3)), draw(4, 3), Operand((4,)))
    assert call.slots == {"input": 0, "bias": 1} and call.slot("weight") is None and call.slot("bias") == 1
    assert call.shapes == ((2, 3), (4,)) and call.shape == (2, 4)
    assert isinstance(call["weight"], Const) and not call.has_batched_constants
