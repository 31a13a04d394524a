"""Rows bound those elements that a relaxation could profit from, tell how far they are, and stop in time."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import Any

import torch

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm, Progress
from lirpa_core.linear.interval import Interval
from lirpa_core.methods import CROWN, AlphaCROWN, intervals
from lirpa_core.methods.tightening import _widest, marked_rows, operands_to_tighten
from lirpa_core.progress import Monitor


def test_marked_elements_come_first_and_as_many_rows_as_the_largest_count() -> None:
    mask = torch.tensor([[False, True, False, True], [True, False, False, False]])
    found = marked_rows(mask)
    assert found is not None and found.shape == (2, 2)
    assert found[:, 0].tolist() == [1, 3] and found[0, 1] == 0
    assert marked_rows(torch.zeros(2, 3, dtype=torch.bool)) is None


def test_what_is_known_is_not_tightened(setting: Any) -> None:
    problem = setting.problem
    todo = {operand for slots in operands_to_tighten(problem).values() for _, operand in slots}
    assert todo and todo.isdisjoint(problem.inputs) and todo.isdisjoint(problem.facts.interval_exact)
    known = next(iter(todo))
    point = torch.zeros(4, *problem.shape(known), dtype=torch.float64)
    left = operands_to_tighten(problem, {known: Interval(point, point)})
    assert {operand for slots in left.values() for _, operand in slots} == todo - {known}


def test_progress_goes_up_to_what_was_announced(setting: Any) -> None:
    told: list[Progress] = []
    problem = dataclasses.replace(setting.problem, monitor=Monitor(told.append))
    CROWN(screening=False).intermediate_bounds(problem, (setting.node,), memory_budget=1)
    shares = [p.share for p in told if p.task == "bounds of inner nodes"]
    assert shares == sorted(shares) and shares[0] == 0 and 0.5 < shares[-1] <= 1 and len(set(shares)) > 5


def test_when_the_time_is_over_nodes_keep_sound_intervals(setting: Any) -> None:
    problem, node = setting.problem, setting.node
    by_ibp = intervals(problem)
    by_crown = CROWN().intermediate_bounds(problem, (node,)).intervals
    widths = []
    for parts in range(8):  # the time is over after so many reports
        monitor = Monitor()

        def stop(progress: Progress, monitor: Monitor = monitor, left: list[int] = [parts]) -> None:  # noqa: B006
            left[0] -= 1
            if left[0] < 0:
                monitor.deadline = time.monotonic() - 1

        monitor.report = stop
        limited = dataclasses.replace(problem, monitor=monitor)
        method = CROWN()
        inner = method.intermediate_bounds(limited, (node,), memory_budget=1)
        for name, interval in inner.intervals.items():
            assert bool((interval.lower >= by_ibp[name].lower - 1e-9).all())
            assert bool((interval.upper <= by_ibp[name].upper + 1e-9).all())
        found = method.bound_rows(problem, node, inner)
        assert found.lower is not None and found.upper is not None
        assert bool((setting.outputs >= found.lower.T).all()) and bool(
            (setting.outputs <= found.upper.T).all()
        )
        widths.append(float(inner.intervals[node].width.detach().sum()))
    assert widths[0] > 1.01 * widths[-1]
    assert math.isclose(widths[0], float(by_ibp[node].width.detach().sum()), rel_tol=0.3)
    assert widths[-1] >= float(by_crown[node].width.detach().sum()) - 1e-9


def test_of_many_marked_elements_those_of_the_widest_intervals_are_bounded() -> None:
    mask = torch.tensor([[[True, True], [False, True]], [[False, False], [True, False]]])
    width = torch.tensor([[[1.0, 3.0], [9.0, 2.0]], [[5.0, 6.0], [0.0, 7.0]]])
    interval = Interval(-width, torch.zeros_like(width))
    assert _widest(mask, interval, 2).flatten(1).tolist() == [
        [False, True, False, True],
        [False, False, True, False],
    ]
    assert torch.equal(_widest(mask, interval, 4), mask)


def test_a_limit_of_rows_holds_for_every_example() -> None:
    torch.manual_seed(0)
    layers = [
        torch.nn.Linear(3, 8),
        torch.nn.ReLU(),
        torch.nn.Linear(8, 8),
        torch.nn.ReLU(),
        torch.nn.Linear(8, 2),
    ]
    model = torch.nn.Sequential(*layers).double()
    x = torch.randn(4, 3, dtype=torch.float64)
    problem = BoundedModule(model, x).problem(BoundedTensor(x, PerturbationLpNorm(eps=1.0)))
    plain, few, all_ = (
        method.intermediate_bounds(problem).intervals
        for method in (CROWN(), AlphaCROWN(inner_rows=2), AlphaCROWN(inner_rows=None))
    )
    (hidden,) = [
        name
        for name in plain
        if int((all_[name].width < plain[name].width - 1e-9).sum()) and name != problem.graph.outputs[0]
    ][:1]
    searched = few[hidden].width < plain[hidden].width - 1e-9
    assert int(searched.flatten(1).sum(1).max()) == 2
    assert bool((all_[hidden].width <= few[hidden].width + 1e-9).all())
