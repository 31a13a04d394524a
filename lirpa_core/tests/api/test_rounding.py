"""By how much rounding moved bounds, and the warning where that is more than their width."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import InputError, RoundingWarning, SoundnessError
from lirpa_testing import method_names


def _model(bias: float = 0.0) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)).eval().requires_grad_(False)
    with torch.no_grad():
        model[0].bias.add_(bias)
        model[2].bias.sub_(model[2].weight.sum(1) * bias)
    return model


def _ball(eps: float, dtype: torch.dtype = torch.float32) -> BoundedTensor:
    return BoundedTensor(torch.full((4, 3), 0.25, dtype=dtype), PerturbationLpNorm(eps=eps))


@pytest.mark.parametrize("method", sorted(method_names()))
def test_it_is_the_distance_from_the_other_rounding(method: str) -> None:
    model, ball = _model(), _ball(0.01)
    outward = BoundedModule(model, ball).compute_bounds(x=ball, method=method)
    nearest = BoundedModule(model, ball, {"rounding": "nearest"}).compute_bounds(x=ball, method=method)
    for found in (outward, nearest):
        moved = found.rounding
        torch.testing.assert_close(moved.lower, nearest.lower - outward.lower)
        torch.testing.assert_close(moved.upper, outward.upper - nearest.upper)
        assert bool((moved.lower > 0).all()) and bool((moved.upper > 0).all())
        assert found.rounding is moved  # computed once


def test_a_side_that_was_not_asked_for_and_a_specification() -> None:
    model, ball = _model(), _ball(0.01)
    found = BoundedModule(model, ball).compute_bounds(
        x=ball, C=torch.tensor([[[1.0, -1.0]]]).expand(4, 1, 2), bound_upper=False
    )
    assert found.rounding.upper is None
    assert found.rounding.lower.shape == (4, 1) and bool((found.rounding.lower > 0).all())


@pytest.mark.parametrize("method", sorted(method_names()))
def test_where_rounding_swallows_a_bound_it_is_said_in_words(method: str) -> None:
    """Biases of 10⁶ that cancel: the numbers that are summed are known to 0.06 only."""
    model, ball = _model(1e6), _ball(1e-3)
    with pytest.warns(RoundingWarning, match=r"rounding may change this \w+ bound by .*float64") as said:
        found = BoundedModule(model, ball).compute_bounds(x=ball, method=method)
    assert said[0].filename == __file__
    with pytest.warns(RoundingWarning, match="The bounds hold"):
        assert float(found.rounding.lower.max()) > float((found.upper - found.lower).max()) / 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wide = _ball(1e-3, torch.float64)
        BoundedModule(_model(1e6).double(), wide).compute_bounds(x=wide, method=method)


def test_bounds_that_may_not_hold_are_called_so() -> None:
    ball = _ball(1e-3)
    found = BoundedModule(_model(1e4), ball, {"rounding": "nearest"}).compute_bounds(x=ball)
    with pytest.warns(RoundingWarning, match="may not hold"):
        _ = found.rounding


def test_crossed_bounds_without_an_account_of_rounding_are_no_defect_of_a_rule() -> None:
    ball = _ball(1e-3)
    with pytest.raises(SoundnessError, match=r"use rounding=\"outward\", or float64"):
        BoundedModule(_model(1e6), ball, {"rounding": "nearest"}).compute_bounds(x=ball)


def test_nothing_is_said_of_a_single_point() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BoundedModule(_model(1e6), _ball(0.0)).compute_bounds(x=_ball(0.0))


def test_a_model_that_has_changed_since_is_refused() -> None:
    model, ball = _model(), _ball(0.01)
    found = BoundedModule(model, ball).compute_bounds(x=ball)
    model[0].weight.mul_(2)
    with pytest.raises(InputError, match="before the model changes"):
        _ = found.rounding


def test_the_second_computation_is_only_made_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at the nodes is made at the first, second, fourth and eighth computation."""
    looks: list[int] = []

    def look(*_: object) -> bool:
        looks.append(1)
        return False

    monkeypatch.setattr("lirpa_core.api.bound_call.may_matter", look)
    ball = _ball(0.01)
    bounded = BoundedModule(_model(), ball)
    for _ in range(9):
        bounded.compute_bounds(x=ball, method="IBP")
    assert len(looks) == 4
