"""Recordings of functions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lirpa_core.api.recording import record, runner
from lirpa_core.errors import OptionError


def test_what_depends_on_no_argument_is_computed_once() -> None:
    weight = torch.tensor([[1.0, -2.0], [3.0, -4.0]])

    def function(x: Tensor) -> tuple[Tensor, ...]:
        return (x @ weight.abs().T, x * weight.abs().sum())

    module = record(function, [torch.ones(2)])
    names = [str(node.target) for node in module.graph.nodes if node.op == "call_function"]
    assert "aten.abs.default" not in names
    x = torch.tensor([2.0, -1.0])
    for found, expected in zip(module(x), function(x), strict=True):
        torch.testing.assert_close(found, expected)


def test_what_is_written_to_is_made_anew_each_time() -> None:
    start = torch.ones(3)

    def function(x: Tensor) -> tuple[Tensor, ...]:
        sums = start * 2
        view = sums[:2]
        view += x
        into = torch.zeros(2)
        torch.mul(x, 3, out=into)
        return sums, into

    module = record(function, [torch.zeros(2)])
    x = torch.tensor([1.0, 2.0])
    for _ in range(3):
        sums, into = module(x)
        torch.testing.assert_close(sums, torch.tensor([3.0, 4.0, 2.0]))
        torch.testing.assert_close(into, 3 * x)
    assert torch.equal(start, torch.ones(3))


def test_random_numbers_are_drawn_anew_each_time() -> None:
    module = record(lambda x: (x + torch.rand(3),), [torch.zeros(3)])
    assert not torch.equal(module(torch.zeros(3))[0], module(torch.zeros(3))[0])


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x if bool((x > 0).any()) else -x,),
        lambda x: (x * float(x.sum()),),
        lambda x: (x[x > 0],),
        lambda x: (x.nonzero(),),
        lambda x: (torch.where(x > 0)[0],),
    ],
)
def test_decisions_by_value_are_refused(function: object) -> None:
    with pytest.raises(OptionError, match="cannot be recorded"):
        record(function, [torch.ones(3)])  # type: ignore[arg-type]


def test_a_constant_mask_may_select() -> None:
    mask = torch.tensor([True, False, True])
    module = record(lambda x: (x[mask],), [torch.ones(3)])
    torch.testing.assert_close(module(torch.tensor([1.0, 2.0, 3.0]))[0], torch.tensor([1.0, 3.0]))


def test_other_errors_stay_what_they_are() -> None:
    def fails(x: Tensor) -> tuple[Tensor, ...]:
        return (x @ torch.ones(7),)

    with pytest.raises(RuntimeError, match=r"size|shape|inconsistent"):
        record(fails, [torch.ones(3)])


@pytest.mark.slow
def test_fused_by_the_compiler() -> None:
    def function(x: Tensor) -> tuple[Tensor, ...]:
        return (torch.relu(x) * 2 + 1,)

    tensors = [torch.randn(5)]
    run = runner(record(function, tensors), tensors, "inductor")
    x = torch.randn(5)
    torch.testing.assert_close(run(x)[0], function(x)[0])
