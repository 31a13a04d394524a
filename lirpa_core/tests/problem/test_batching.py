"""Where the examples lie: layouts there and back, and what a batch of another size is."""

from __future__ import annotations

import pytest
import torch

from lirpa_core.errors import InputError
from lirpa_core.problem.batching import (
    batch_size,
    default_batch_dims,
    from_batch_first,
    output_batch_dim,
    second_batch,
    to_batch_first,
)


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_layouts_there_and_back(dim: int) -> None:
    x = torch.randn(2, 3, 4)
    first = to_batch_first(x, dim)
    assert first.shape[0] == x.shape[dim] and first.shape[dim + 1] == 1
    assert torch.equal(from_batch_first(first, dim), x)


def test_inputs_of_the_size_of_the_first_float_input_are_per_example() -> None:
    assert default_batch_dims([torch.ones(3, dtype=torch.long), torch.ones(3, 2), torch.ones(2, 3), 1]) == (
        0,
        0,
        None,
        None,
    )
    assert default_batch_dims([torch.ones(3, dtype=torch.long)]) == (None,)


def test_sizes_must_agree_or_be_one() -> None:
    a, b = torch.ones(4, 2), torch.ones(1, 2)
    assert (
        batch_size([a, b], [0, 0], ["a", "b"]) == 4 == batch_size([a, b, 3], [0, None, None], ["a", "b", "n"])
    )
    with pytest.raises(InputError, match=r"a: 4, b: 3"):
        batch_size([a, torch.ones(3, 2)], [0, 0], ["a", "b"])


def test_the_dimension_of_an_output_that_grows() -> None:
    assert output_batch_dim((2, 1), (2, 3), 3) == 1 and output_batch_dim((2, 1), (6, 1), 3) == 0
    assert output_batch_dim((2,), (2,), 3) is None
    for one, many in (((1, 1), (3, 3)), ((1,), (2,)), ((1,), (3, 1))):
        with pytest.raises(ValueError, match="for one example"):
            output_batch_dim(one, many, 3)


def test_a_second_batch_has_one_more_example_that_differs() -> None:
    x, ids = torch.ones(2, 3), torch.ones(2, dtype=torch.long)
    more, more_ids, flag = second_batch([x, ids, True], [0, 0, None])
    assert more.shape == (3, 3) and more_ids.tolist() == [1, 1, 1] and flag is True
    assert torch.equal(more[:2], x) and not torch.equal(more[2], x[0])
