"""Positions as values."""

import pytest
import torch

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import UnsupportedOperandError

METHODS = ("IBP", "CROWN-IBP", "CROWN", "forward", "CROWN-Optimized")
X = torch.tensor([[0.1, 0.5, -0.3, 0.9], [0.1, 0.11, -0.3, 0.9]]).double()


def _bounds(function, method, eps=0.05, x=X):
    return BoundedModule(function, x).compute_bounds(
        x=(BoundedTensor(x, PerturbationLpNorm(eps=eps)),), method=method
    )


@pytest.mark.parametrize("method", METHODS)
def test_where_the_order_is_known_so_are_positions(method):
    lower, upper = _bounds(lambda x: x.argsort(-1).to(x.dtype), method)
    assert lower[0].tolist() == upper[0].tolist() == [2, 0, 1, 3]
    assert lower[1].tolist() == [2, 0, 0, 3] and upper[1].tolist() == [2, 1, 1, 3]


@pytest.mark.parametrize("method", METHODS)
def test_one_hot_of_argmax(method):
    lower, upper = _bounds(lambda x: torch.nn.functional.one_hot(x[:, :2].argmax(-1), 2).to(x.dtype), method)
    assert lower.tolist() == [[0, 1], [0, 0]] and upper.tolist() == [[0, 1], [1, 1]]


def test_equal_numbers_may_come_in_either_order():
    lower, upper = _bounds(
        lambda x: x.topk(1, -1).indices.to(x.dtype), "IBP", 0.0, torch.tensor([[1.0, 0.0, 1.0]]).double()
    )
    assert (lower.item(), upper.item()) == (0, 2)


def test_an_unordered_topk_is_refused():
    with pytest.raises(UnsupportedOperandError, match="sorted=True"):
        _bounds(lambda x: x.topk(2, -1, sorted=False).indices.to(x.dtype), "IBP")
