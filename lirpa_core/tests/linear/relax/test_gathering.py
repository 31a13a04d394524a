"""Rows are those of indexing, with and without gradients."""

from __future__ import annotations

import pytest
import torch

from lirpa_core.linear.relax import take_rows


@pytest.mark.parametrize("shape", [(5,), (5, 2), (5, 2, 3)])
@pytest.mark.parametrize(
    "index", [torch.tensor([4, 0, 0]), torch.tensor([[1], [3]]), torch.zeros(0, 2).long()]
)
@pytest.mark.parametrize("recorded", [True, False])
def test_rows_are_those_of_indexing(shape: tuple[int, ...], index: torch.Tensor, recorded: bool) -> None:
    x = torch.randn(shape).requires_grad_()
    with torch.set_grad_enabled(recorded):
        found = take_rows(x, index)
    assert torch.equal(found, x[index]) and found.requires_grad == recorded
    with torch.no_grad():
        strided = torch.randn(shape).movedim(0, -1).contiguous().movedim(-1, 0)
        assert torch.equal(take_rows(strided, index), strided[index])
