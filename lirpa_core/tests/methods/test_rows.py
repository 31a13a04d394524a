"""Rows in chunks are rows at once, and rows over an interval are the corners of the interval."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import MemoryBudgetError
from lirpa_core.linear import Interval
from lirpa_core.linear.coefficients import DenseCoefficients
from lirpa_core.methods import AlphaCROWN, Relaxations, RowBounds, bound_rows, intervals, screening
from lirpa_core.methods import rows as rows_module
from lirpa_core.methods.rows import (
    every_element,
    in_halves_if_needed,
    rows_of_interval,
    rows_over_interval,
    tighter,
)
from lirpa_testing import method_names


@pytest.mark.parametrize("budget", [1, 2000, 10**9])
@pytest.mark.parametrize("sides", [(True, True), (True, False), (False, True)])
def test_a_memory_budget_changes_no_bound(setting: Any, budget: int, sides: tuple[bool, bool]) -> None:
    problem, lower, upper = setting.problem, *sides
    relaxations = Relaxations(problem, intervals(problem))
    C = DenseCoefficients(
        torch.randn(7, 1, 1, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    )
    whole = bound_rows(problem, setting.node, C, relaxations)
    found = bound_rows(problem, setting.node, C, relaxations, lower=lower, upper=upper, memory_budget=budget)
    for got, want, asked in ((found.lower, whole.lower, lower), (found.upper, whole.upper, upper)):
        if asked:
            torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
        else:
            assert got is None


def test_rows_that_do_not_fit_the_memory_of_a_device_are_halved() -> None:
    rows = DenseCoefficients(torch.arange(7.0).reshape(7, 1, 1))
    tried: list[int] = []

    def work(part: Any) -> torch.Tensor:
        tried.append(part.rows)
        if part.rows > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return part.A[:, 0]  # type: ignore[no-any-return]

    parts = list(in_halves_if_needed([rows], work, torch.device("cpu")))
    assert torch.cat([value for _, value in parts]).flatten().tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert max(tried) == 7 and all(part.rows <= 2 for part, _ in parts)


def test_a_single_row_that_does_not_fit_is_explained() -> None:
    def work(part: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("Tried to allocate 20.00 GiB")

    rows = DenseCoefficients(torch.arange(7.0).reshape(7, 1, 1))
    with pytest.raises(MemoryBudgetError, match=r"fewer examples.*20\.00 GiB"):
        list(in_halves_if_needed([rows], work, torch.device("cpu")))


def test_bounds_are_the_same_where_memory_runs_out(setting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    problem, real = setting.problem, rows_module.backward
    C = DenseCoefficients(torch.randn(7, 1, 1, 2, dtype=torch.float64))
    relaxations = Relaxations(problem, intervals(problem))
    whole = bound_rows(problem, setting.node, C, relaxations)

    def scarce(problem: Any, node: str, start: Any, *rest: Any, **others: Any) -> Any:
        if start.rows > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(problem, node, start, *rest, **others)

    monkeypatch.setattr(rows_module, "backward", scarce)
    found = bound_rows(problem, setting.node, C, relaxations)
    torch.testing.assert_close(found.lower, whole.lower, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.upper, whole.upper, rtol=1e-12, atol=1e-12)


def test_rows_over_an_interval_are_its_corners(setting: Any) -> None:
    box = Interval(*(torch.tensor([[ends]], dtype=torch.float64) for ends in ([-1.0, 2.0], [3.0, 4.0])))
    rows = DenseCoefficients(torch.tensor([[[[1.0, -1.0]]], [[[2.0, 0.0]]]], dtype=torch.float64))
    found = rows_over_interval(setting.problem, setting.node, rows, box)
    torch.testing.assert_close(found.lower[:, :1], torch.tensor([[-5.0], [-2.0]], dtype=torch.float64))
    torch.testing.assert_close(found.upper[:, :1], torch.tensor([[1.0], [6.0]], dtype=torch.float64))


def test_every_element_is_a_row(setting: Any) -> None:
    rows = every_element(setting.problem, setting.node)
    found = intervals(setting.problem)[setting.node]
    by_rows, laid_out = (
        rows_over_interval(setting.problem, setting.node, rows, found),
        rows_of_interval(found, 4),
    )
    torch.testing.assert_close(by_rows.lower, laid_out.lower)
    torch.testing.assert_close(by_rows.upper, laid_out.upper)


def test_the_tighter_of_two() -> None:
    found = RowBounds(torch.tensor([[0.0, 1.0]]), None)
    better = tighter(found, Interval(torch.tensor([[0.5, 0.5]]), torch.tensor([[9.0, 9.0]])))
    assert better.lower is not None and better.lower.tolist() == [[0.5, 1.0]] and better.upper is None


@pytest.mark.parametrize("method", method_names())
def test_the_bounds_of_an_example_do_not_depend_on_the_others(method: str) -> None:
    """Examples with many and with few unstable neurons, together and alone: fewer rows are padded, and padding says nothing."""
    torch.manual_seed(0)
    layers = [
        nn.Linear(3, 12),
        nn.ReLU(),
        nn.Linear(12, 12),
        nn.ReLU(),
        nn.Linear(12, 12),
        nn.ReLU(),
        nn.Linear(12, 2),
    ]
    model = nn.Sequential(*layers).double()
    x, eps = torch.randn(4, 3).double(), torch.tensor([0.01, 0.1, 0.5, 2.0]).double()
    bounded = BoundedModule(model, x)
    together = bounded.compute_bounds(BoundedTensor(x, PerturbationLpNorm(eps=eps)), method=method)
    for i in range(len(x)):
        point = BoundedTensor(x[i : i + 1], PerturbationLpNorm(eps=float(eps[i])))
        alone = bounded.compute_bounds(point, method=method)
        torch.testing.assert_close(together.lower[i], alone.lower[0], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(together.upper[i], alone.upper[0], rtol=1e-12, atol=1e-12)
        for name, interval in alone.intermediate.items():
            whole = together.intermediate[name]
            for mine, theirs in ((whole.lower, interval.lower), (whole.upper, interval.upper)):
                torch.testing.assert_close(mine[i], theirs[0], rtol=1e-12, atol=1e-12)


class Allocator(TorchDispatchMode):
    """Refuses tensors of more than some numbers, as a device does that has no more memory; counts refusals."""

    def __init__(self, most: int, error: Exception) -> None:
        super().__init__()
        self.most, self.error, self.refused = most, error, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        is_new = all(value.alias_info is None for value in func._schema.returns)
        if is_new and isinstance(found, torch.Tensor) and found.numel() > self.most:
            self.refused += 1
            raise self.error
        return found


@pytest.mark.parametrize("method", ["CROWN", "CROWN-IBP", AlphaCROWN(steps=2)])
@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError("no more")])
def test_bounds_are_those_with_enough_memory(
    method: Any, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 30), nn.ReLU(), nn.Linear(30, 40), nn.ReLU(), nn.Linear(40, 9))
    x = torch.rand(3, 4)
    bounded = BoundedModule(model, x, bound_opts={"tripwire": False})
    point = BoundedTensor(x, PerturbationLpNorm(eps=0.3))
    monkeypatch.setattr(screening, "FEW", 1)
    with torch.no_grad():
        whole = bounded.compute_bounds(point, method=method)
        with Allocator(40 * 30 + 1, error) as scarce:  # room for the weights, and for a few rows
            found = bounded.compute_bounds(point, method=method)
    assert scarce.refused
    torch.testing.assert_close(found.lower, whole.lower)
    torch.testing.assert_close(found.upper, whole.upper)


@pytest.mark.parametrize("method", ["IBP", "CROWN", "forward", AlphaCROWN(steps=2)])
def test_memory_that_is_never_enough_is_explained(method: Any) -> None:
    x = torch.rand(20, 4)
    bounded = BoundedModule(nn.Sequential(nn.Linear(4, 30), nn.ReLU(), nn.Linear(30, 2)), x)
    point = BoundedTensor(x, PerturbationLpNorm(eps=0.3))
    with (
        Allocator(130, torch.OutOfMemoryError("20 GiB")),
        pytest.raises(MemoryBudgetError, match=r"fewer examples.*20 GiB"),
    ):
        bounded.compute_bounds(point, method=method)
