"""`auto`: sound, never looser than IBP, as tight as what fits; it says what it chose, and stops in time."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import pytest
import torch
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import OptionError
from lirpa_core.methods import CROWN, IBP, AlphaCROWN, Auto, Hybrid, cost
from lirpa_core.methods.auto import AutoBounds
from lirpa_core.methods.slope_search import SlopeSearch

#: Budgets between the estimates for `setting`, and what fits them.
LARGE, NONE = 1e6, 1e-9


def bounds(problem: Any, method: Any, node: str, **options: Any) -> Any:
    inner = method.intermediate_bounds(problem, wanted=(node,), memory_budget=options.get("memory_budget"))
    return method.bound_rows(problem, node, inner, **options)


@pytest.mark.parametrize("budget", [NONE, 2e-3, 0.05, LARGE])
def test_sound_and_never_looser_than_ibp(setting: Any, budget: float) -> None:
    found = bounds(setting.problem, Auto(budget), setting.node)
    ibp = bounds(setting.problem, IBP(), setting.node)
    assert bool((setting.outputs >= found.lower.T).all()) and bool((setting.outputs <= found.upper.T).all())
    assert bool((found.lower >= ibp.lower).all()) and bool((found.upper <= ibp.upper).all())


def test_the_choice_follows_the_budget(setting: Any) -> None:
    problem, node = setting.problem, setting.node
    by_ibp = IBP().intermediate_bounds(problem).intervals
    one = cost.rows_seconds(problem, node, 2)
    crown = sum(cost.inner_seconds(problem, by_ibp).values()) + one
    search = crown + cost.search_seconds(problem, node, 2, 20)
    chosen = {}
    for budget in (0.5 * one, 0.5 * (one + crown), 0.5 * (crown + search), 1.5 * search):
        # The clock may stop a computation on a busy machine, but does not choose.
        found = bounds(problem, Auto(budget), node)
        chosen[budget] = found.choice.method
        assert found.choice.reason
    assert list(chosen.values()) == ["IBP", "CROWN-IBP", "CROWN", "CROWN-Optimized"]


@pytest.mark.parametrize(("method", "budget"), [(AlphaCROWN(), LARGE), (IBP(), NONE)])
def test_as_tight_as_what_was_chosen(setting: Any, method: Any, budget: float) -> None:
    found = bounds(setting.problem, Auto(budget), setting.node)
    same = bounds(setting.problem, method, setting.node)
    assert found.choice.method == method.name
    torch.testing.assert_close(found.lower.maximum(same.lower), found.lower)
    torch.testing.assert_close(found.upper.minimum(same.upper), found.upper)


def test_a_late_clock_stops_rows_and_search(setting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real, started = time.monotonic, time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: started + 1e4 * (real() - started))
    problem, node = setting.problem, setting.node
    method = Auto(10.0)
    inner = method.intermediate_bounds(problem, (node,))
    assert isinstance(inner, AutoBounds) and inner.stopped
    found = method.bound_rows(problem, node, inner)
    assert found.choice is not None and "was over" in found.choice.reason and found.choice.method == "CROWN"
    assert found.lower is not None and bool((setting.outputs >= found.lower.T).all())
    monkeypatch.undo()
    done = method.intermediate_bounds(problem, (node,))
    late = dataclasses.replace(done, started=time.monotonic() - 100)
    searched, plain = method.bound_rows(problem, node, late), CROWN().bound_rows(problem, node, done)
    assert searched.choice is not None and searched.choice.method == "CROWN-Optimized"
    assert searched.lower is not None and plain.lower is not None
    assert bool((setting.outputs >= searched.lower.T).all()) and bool(
        (searched.lower >= plain.lower - 1e-9).all()
    )


def test_memory_decides_too(setting: Any) -> None:
    nothing = bounds(
        setting.problem, Auto(LARGE), setting.node, memory_budget=1
    ).choice  # not even for one row
    assert nothing.method == "IBP" and "memory_budget" in nothing.reason
    between = cost.search_bytes(setting.problem) - 1
    found = bounds(setting.problem, Auto(LARGE), setting.node, memory_budget=between)
    assert found.choice.method == "CROWN" and "memory_budget" in found.choice.reason


def test_linear_bounds_are_there_whatever_the_budget(setting: Any) -> None:
    found = bounds(setting.problem, Auto(NONE), setting.node, linear_bounds=True)
    assert found.lower_form is not None and found.choice.method == "CROWN-IBP"


def test_inner_bounds_of_another_method(setting: Any) -> None:
    found = bounds(setting.problem, Hybrid("both", IBP(), Auto(LARGE)), setting.node)
    assert bool((setting.outputs >= found.lower.T).all()) and found.choice.method == "CROWN-Optimized"


def test_an_operator_without_lines_leaves_intervals(setting: Any) -> None:
    rules = {name: _IntervalsOnly(rule) for name, rule in setting.problem.rules.items()}
    problem = dataclasses.replace(setting.problem, rules=rules)
    found = bounds(problem, Auto(LARGE), setting.node)
    assert found.choice.method == "IBP" and "has intervals only" in found.choice.reason


class _IntervalsOnly:
    """A rule that has no lines."""

    modes = ("interval",)

    def __init__(self, rule: Any) -> None:
        self._rule = rule

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rule, name)


def test_settings() -> None:
    method = Auto().with_time_budget(3.0).with_slope_search(SlopeSearch(iteration=5))
    assert isinstance(method, Auto) and method.time_budget == 3.0 and method.search.iteration == 5
    for wrong in (0, -1.0, float("nan"), True, "10"):
        with pytest.raises(OptionError, match="positive number of seconds"):
            Auto(wrong)  # type: ignore[arg-type]


def test_as_a_user_calls_it() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))
    x = BoundedTensor(torch.rand(3, 4), PerturbationLpNorm(eps=0.1))
    bounded = BoundedModule(model, x)
    found = bounded.compute_bounds(x, method="auto")
    assert found.method == "CROWN-Optimized" and "of 10 s" in found.reason
    short = bounded.compute_bounds(x, method="auto", time_budget=1e-9)
    assert short.method == "IBP" and "time_budget" in short.reason
    assert bounded.compute_bounds(x, method="CROWN").reason == ""
    lean = bounded.compute_bounds(x, method="auto", memory_budget=1)
    assert lean.method == "IBP" and "memory_budget" in lean.reason
    with pytest.raises(OptionError, match="method='auto' chooses"):
        bounded.compute_bounds(x, method="CROWN", time_budget=1.0)
    with pytest.raises(OptionError, match="memory_budget"):
        bounded.compute_bounds(x, method="auto", memory_budget=0)
