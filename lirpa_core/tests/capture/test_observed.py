"""What runs is told from what runs otherwise, also where the numbers are the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lirpa_core.capture.observed import Compared, Observed, same_numbers

X = torch.tensor([[-1.0, 2.0]])


def _seen(function: Callable[[Tensor], object]) -> Observed:
    with Observed() as observed:
        function(X)
    return observed


def test_operators_are_kept_with_their_results() -> None:
    first, second = _seen(lambda x: x.relu().mul(3.0)).runs
    assert (first.target, second.target) == (torch.ops.aten.relu.default, torch.ops.aten.mul.Tensor)
    assert torch.equal(second.result, torch.tensor([[0.0, 6.0]]))


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (lambda x: torch.nn.functional.relu(x).mul(3.0), True),
        (lambda x: x.relu().mul(3.0).clamp(max=9.0), False),  # one more, without an effect here
        (lambda x: x.relu(), False),  # one fewer
        (lambda x: x.clamp(min=0.0).mul(3.0), False),  # another, with the same numbers
        (lambda x: x.relu().mul(4.0), False),  # another number
        (lambda x: x.neg().abs().relu().mul(3.0), False),
        (lambda x: (x + 1).relu().mul(3.0), False),
        (lambda x: x.double().relu().mul(3.0), False),
    ],
)
def test_runs_are_compared(other: Callable[[Tensor], object], expected: bool) -> None:
    with Compared(_seen(lambda x: x.relu().mul(3.0)).runs) as compared:
        other(X)
    assert compared.is_same is expected


def test_an_input_of_other_values_is_another_run() -> None:
    with Compared(_seen(lambda x: x.relu()).runs) as compared:
        (X + 1).detach().relu()
    assert not compared.is_same
    outside = X + 1
    with Compared(_seen(lambda x: x.relu()).runs) as compared:
        outside.relu()
    assert not compared.is_same


def test_numbers() -> None:
    nan = torch.tensor([1.0, torch.nan])
    assert same_numbers(nan, nan.clone())
    assert same_numbers((nan, 3), (nan.clone(), 3))
    assert not same_numbers((nan,), (nan, nan))
    assert not same_numbers(nan, torch.tensor([1.0, 2.0]))
    assert not same_numbers(nan, nan.double())
    assert not same_numbers(torch.zeros(2), torch.zeros(1, 2))
    assert not same_numbers(torch.zeros(2), 0.0)
    assert not same_numbers(3, 3.0)
