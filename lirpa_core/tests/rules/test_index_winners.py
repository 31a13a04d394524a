"""Elements that are written to one place, and which of them wins."""

from __future__ import annotations

import pytest
import torch

from lirpa_core.errors import UnsupportedOperandError
from lirpa_core.rules.call import Call, Const, Operand
from lirpa_core.rules.index_winners import require_one_winner

aten = torch.ops.aten
TWICE, ONCE = torch.tensor([[0, 2, 0]]), torch.tensor([[0, 2, 1]])
ZEROS, X = torch.zeros(1, 3, dtype=torch.float64), Operand((1, 3))


def refused(call: Call) -> bool:
    try:
        require_one_winner(call)
    except UnsupportedOperandError as error:
        return "the place [0, 0]" in str(error)
    return False


@pytest.mark.parametrize("into", [X, ZEROS])
def test_two_elements_of_a_tensor(into):
    assert refused(Call.of(aten.scatter.src, into, 1, TWICE, X))
    assert not refused(Call.of(aten.scatter.src, into, 1, ONCE, X))
    assert not refused(Call.of(aten.scatter.src, into, -1, TWICE[:, :2], X)), "the third is not written"


@pytest.mark.parametrize(("numbers", "expected"), [([1.0, 2.0, 3.0], True), ([1.0, 2.0, 1.0], False)])
def test_known_numbers_differ_or_are_equal(numbers, expected):
    src = torch.tensor([numbers], dtype=torch.float64)
    assert refused(Call.of(aten.scatter.src, X, 1, TWICE, src)) is expected


def test_each_example_has_its_own_places():
    index = torch.stack([ONCE, TWICE, ONCE])
    assert refused(Call.of(aten.scatter.src, ZEROS, 1, Const(index, batched=True), X, batch=3))
    assert not refused(Call.of(aten.scatter.src, ZEROS, 1, Const(index[::2], batched=True), X, batch=2))


def test_places_by_several_indices():
    rows, columns = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0])
    three, one = Operand((3,)), Operand((1,))
    into = torch.zeros(2, 2, dtype=torch.float64)
    assert not refused(Call.of(aten.index_put.default, into, [rows, columns], three))
    assert refused(Call.of(aten.index_put.default, into, [rows, columns * 0], three))
    assert not refused(Call.of(aten.index_put.default, into, [rows, columns * 0], one)), "one for all places"
    assert not refused(Call.of(aten.index_put.default, into, [rows, columns * 0], three, True)), "they add up"
    assert refused(Call.of(aten.index_put.default, into, [rows], Operand((3, 2))))
    assert not refused(Call.of(aten.index_put.default, into, [None, torch.tensor([0])], Operand((2, 1))))


def test_one_number_for_all_places_and_sums_are_left_alone():
    require_one_winner(Call.of(aten.scatter.value, X, 1, TWICE, 7.0))
    require_one_winner(Call.of(aten.scatter_add.default, X, 1, ONCE, X))
