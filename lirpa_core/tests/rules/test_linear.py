"""The linear family by itself: what it derives when an author gives no native code."""

import pytest
import torch

from lirpa_core.errors import UnsupportedOperandError
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import Diagonal
from lirpa_core.rules.call import Call, Const, Operand
from lirpa_core.rules.linear import Broadcast, Linear
from lirpa_testing import check_rule

aten = torch.ops.aten


def X(*sizes: int) -> Operand:
    return Operand(sizes)


def C(*sizes: int) -> torch.Tensor:
    return torch.randn(sizes, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def unknown(call: Call, slot: int) -> None:
    return None


CASES = {
    "structural": (Linear(("self",)), (aten.sum.dim_IntList, X(2, 3), [1])),
    "negative": (Linear(("self",), sign=lambda call, slot: -1), (aten.neg.default, X(2, 3))),
    "with weights": (Linear(("input",), sign=unknown), (aten.linear.default, X(2, 3), C(4, 3), C(4))),
    "with weights of each example": (
        Linear(("input",), sign=unknown),
        (aten.linear.default, X(2, 3), Const(C(3, 4, 3), True), C(4)),
    ),
    "constant among the operands": (Linear(("self", "other")), (aten.add.Tensor, X(2, 3), C(3))),
    "number among the operands": (Linear(("self", "other")), (aten.add.Tensor, X(2, 3), 2.0)),
    "two operands of unknown sign": (
        Linear(("self", "other"), sign=unknown),
        (aten.sub.Tensor, X(2, 3), X(3)),
    ),
    "offset": (Linear(("self",), offset=True), (aten.constant_pad_nd.default, X(3), [1, 0], 2.0)),
    "offset by the call": (
        Linear(("self",), offset=lambda call: call["value"] != 0),
        (aten.constant_pad_nd.default, X(3), [1, 0], 2.0),
    ),
    "batched constants": (
        Linear(("self", "src")),
        (aten.scatter.src, X(1, 4), 1, Const(torch.tensor([[[0]], [[2]], [[3]]]), True), X(1, 1)),
    ),
    "native broadcast": (Linear(("self",), native=Broadcast()), (aten.expand.default, X(3, 1), [2, 3, 4])),
}


@pytest.mark.parametrize("name", CASES)
def test_derived_from_the_operator_alone(name, oracle):
    rule, args = CASES[name]
    if name.startswith("with weights"):  # the bias is constant and no operand: it is an offset
        rule = Linear(("input",), sign=unknown, offset=True)
    call = Call.of(*args, batch=3)
    oracle.assert_affine(rule, call)


def test_the_kit_finds_nothing_wrong():
    rule, args = CASES["two operands of unknown sign"]
    check_rule(rule, Call.of(*args), examples=7)


def test_a_wrong_sign_is_noticed_by_the_oracle(oracle):
    call = Call.of(aten.neg.default, X(2))
    with pytest.raises(AssertionError):
        oracle.assert_affine(Linear(("self",)), call)


def test_empty_tensors():
    call = Call.of(aten.sum.dim_IntList, X(0, 3), [0])
    rule = Linear(("self",))
    box = rule.interval(call, (Interval(torch.zeros(2, 0, 3).double(), torch.zeros(2, 0, 3).double()),))
    assert torch.equal(box.lower, torch.zeros(2, 3).double())
    op = rule.relax(call, (None,)).lower.terms[0]
    assert op.transpose(torch.ones(4, 2, 3).double()).shape == (4, 2, 0, 3)


def test_refusals():
    call = Call.of(aten.add.Tensor, C(3), X(3))
    with pytest.raises(UnsupportedOperandError, match="argument 'other'"):
        Linear(("self",)).check(call)
    with pytest.raises(UnsupportedOperandError, match="not today"):
        Linear(("self", "other"), refuse=lambda call: "not today").check(call)
    Linear(("self", "other"), refuse=lambda call: None).check(call)
    inside = Call.of(aten.cat.default, [C(3), X(3)], 0)
    with pytest.raises(UnsupportedOperandError, match="argument 'tensors'"):
        Linear(("dim",)).check(inside)


def test_slots_keep_their_element_type():
    call = Call.of(aten.add.Tensor, Operand((2,), torch.float32), Operand((2,), torch.float64))
    assert call.dtype == torch.float64
    assert [z.dtype for z in call.zeros()] == [torch.float32, torch.float64]
    op = Linear(("self", "other")).relax(call, (None, None)).lower.terms[0]
    assert op.apply(torch.ones(1, 2)).dtype == torch.float64


def test_an_operator_and_a_check_of_an_authors_own(oracle):
    """The operator takes the place of the derived one in intervals and relaxations alike."""
    weight = torch.tensor([2.0, -1.0, 0.0], dtype=torch.float64)

    def scaled(x: torch.Tensor) -> torch.Tensor:
        return x * weight

    def refuse_long(call: Call) -> None:
        if call.shape[-1] > 3:
            raise ValueError("too long")

    rule = Linear(("x",), operator=lambda call, slot: Diagonal(weight[None], (3,)), validate=refuse_long)
    oracle.assert_affine(rule, Call.of(scaled, Operand((3,)), batch=3))
    weight = torch.ones(4, dtype=torch.float64)
    with pytest.raises(ValueError, match="too long"):
        rule.check(Call.of(scaled, Operand((4,))))
