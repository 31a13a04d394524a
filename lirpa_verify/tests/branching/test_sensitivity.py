"""Heuristics choose the input that matters."""

from __future__ import annotations

import pytest
import torch
from lirpa_verify.branching import InputBranching, Longest, OpenBoxes, Sensitivity, Smart, halves
from torch import Tensor


def open_boxes() -> OpenBoxes:
    lower, upper = torch.tensor([[0.0, 0.0, 0.0]]).double(), torch.tensor([[1.0, 4.0, 2.0]]).double()
    A = torch.tensor([[[1.0, 0.1, 1.0]]]).double()
    on = torch.ones(1, 1, dtype=torch.bool)

    def trial(low: Tensor, high: Tensor) -> Tensor:  # only input 0 matters in truth
        return -(high - low)[:, :1]

    return OpenBoxes(lower, upper, A, torch.tensor([[-1.0]]).double(), on, on, trial)


@pytest.mark.parametrize(
    ("heuristic", "chosen"), [(Longest(), 1), (Sensitivity(), 2), (Smart(3), 0), (Smart(1), 2)]
)
def test_the_input_that_matters_is_chosen(heuristic: InputBranching, chosen: int) -> None:
    assert heuristic.choose(open_boxes()).tolist() == [chosen]


def test_halves_are_the_box() -> None:
    lower, upper = torch.tensor([[0.0, -1.0], [2.0, 0.0]]), torch.tensor([[1.0, 1.0], [4.0, 8.0]])
    low, high = halves(lower, upper, torch.tensor([1, 0]))
    assert low.tolist() == [[0, -1], [2, 0], [0, 0], [3, 0]]
    assert high.tolist() == [[1, 0], [3, 8], [1, 1], [4, 8]]
