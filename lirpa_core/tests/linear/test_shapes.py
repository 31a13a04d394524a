"""The shape of several tensors is PyTorch's."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch

from lirpa_core.linear.shapes import broadcast_shapes, by_element


def test_it_is_pytorchs() -> None:
    shapes = [(), (1,), (3,), (0,), (2, 1), (2, 3), (1, 1, 3), (4, 2, 3), (5, 3)]
    refused = 0
    for given in product(shapes, repeat=3):
        try:
            expected = torch.broadcast_shapes(*given)
        except RuntimeError:
            refused += 1
            with pytest.raises(RuntimeError, match="cannot be broadcast"):
                broadcast_shapes(*given)
        else:
            assert broadcast_shapes(*given) == expected
    assert refused > 50
    assert broadcast_shapes() == torch.broadcast_shapes() == torch.Size()


@pytest.mark.parametrize("shape", [(2, 3), (6,), (0,), (4, 0), ()])
def test_rows_by_element(shape: tuple[int, ...]) -> None:
    elements = torch.rand(5, *shape)
    rows = elements.reshape(5, math.prod(shape)).T
    assert torch.equal(by_element(rows, shape), elements)
