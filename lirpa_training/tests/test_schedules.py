"""Schedules: their course, their options, and going on where they were saved."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from lirpa_core.errors import OptionError
from lirpa_training import (
    AdaptiveScheduler,
    FixedScheduler,
    LinearScheduler,
    SmoothedScheduler,
    WeightSchedule,
)
from lirpa_training.schedules import EpsilonScheduler

RAMPS = (LinearScheduler, SmoothedScheduler)


def course(schedule: EpsilonScheduler, epochs: int, batches: int = 5) -> list[float]:
    schedule.set_epoch_length(batches)
    found = []
    for _ in range(epochs):
        schedule.step_epoch()
        for _ in range(batches):
            schedule.step_batch()
            found.append(schedule.get_eps())
            schedule.update_loss(1.0 / (1 + len(found)))
    return found


@pytest.mark.parametrize("kind", RAMPS)
def test_a_ramp_is_zero_before_grows_and_stays(kind: type[LinearScheduler]) -> None:
    eps = course(kind(0.3, "start=3,length=2"), 6)
    assert eps[:10] == [0.0] * 10
    assert all(a < b for a, b in pairwise(eps[9:20]))
    assert eps[19:] == pytest.approx([0.3] * 11)


def test_a_smooth_ramp_has_no_corner_and_begins_gently() -> None:
    eps = course(SmoothedScheduler(1.0, start=1, length=10, mid=0.4, beta=4), 10, 100)
    steps = [b - a for a, b in pairwise(eps)]
    assert max(abs(b - a) for a, b in pairwise(steps)) < 0.1 * max(steps)
    assert steps[0] < 1e-3 * max(steps)
    assert steps[500] == pytest.approx(steps[900]) == pytest.approx(max(steps))


def test_keywords_and_strings_say_the_same() -> None:
    text = course(SmoothedScheduler(0.1, "start=2, length=3,mid=0.5,beta=3"), 5)
    assert text == course(SmoothedScheduler(0.1, start=2, length=3, mid=0.5, beta=3), 5)


def test_the_adaptive_ramp_steps_more_when_the_loss_falls() -> None:
    schedule = AdaptiveScheduler(1.0, "start=1,min_step=0.001,max_step=0.1,sensitivity=1")
    schedule.step_epoch()
    found = []
    for loss in (2.0, 1.95, 1.0, 3.0):
        schedule.step_batch()
        before = schedule.get_eps()
        schedule.update_loss(loss)
        found.append(schedule.get_eps() - before)
    assert found == pytest.approx([0.001, 0.05, 0.1, 0.001])
    with pytest.raises(OptionError, match="finite"):
        schedule.update_loss(float("nan"))


def test_in_evaluation_the_radius_is_the_largest_and_nothing_counts() -> None:
    schedule = LinearScheduler(0.3, "start=3,length=2")
    schedule.step_epoch()
    schedule.eval()
    schedule.step_epoch()
    assert schedule.get_eps() == schedule.get_max_eps() == 0.3
    schedule.train()
    assert schedule.epoch == 1 and schedule.get_eps() == 0 and not schedule.reached_max_eps()


def test_fixed() -> None:
    schedule = FixedScheduler(0.2)
    assert course(schedule, 1) == [0.2] * 5 and schedule.reached_max_eps()


@pytest.mark.parametrize("kind", [LinearScheduler, SmoothedScheduler, AdaptiveScheduler, FixedScheduler])
def test_a_saved_schedule_goes_on(kind: type[EpsilonScheduler]) -> None:
    whole, first, second = kind(0.3), kind(0.3), kind(0.3)
    course(whole, 3)
    course(first, 3)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert course(second, 5) == course(whole, 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("start=2,length=-1", "end at epoch 1, before it starts at epoch 2"),
        ("start=0", "start=0.0"),
        ("lenght=3", "Did you mean 'length'"),
        ("length", "name=number"),
        ("length=soon", "name=number"),
        ("length=nan", "length=nan"),
        ("mid=0", "mid=0.0"),
        ("beta=0.5", "beta=0.5"),
    ],
)
def test_wrong_options_are_refused(options: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        SmoothedScheduler(0.1, options)


def test_other_wrong_values_are_refused() -> None:
    with pytest.raises(OptionError, match="max_eps=-1"):
        FixedScheduler(-1)
    with pytest.raises(OptionError, match="min_step"):
        AdaptiveScheduler(1.0, min_step=2.0, max_step=1.0)
    with pytest.raises(OptionError, match="batches"):
        FixedScheduler(1).set_epoch_length(0)
    with pytest.raises(OptionError, match="not one of LinearScheduler"):
        LinearScheduler(1.0).load_state_dict(AdaptiveScheduler(1.0).state_dict())
    with pytest.raises(OptionError, match="after=2"):
        WeightSchedule(1, 2)
    with pytest.raises(OptionError, match="before it starts"):
        WeightSchedule(1, 0, start=5, length=-2)


def test_a_weight_goes_from_one_value_to_the_other() -> None:
    kappa = WeightSchedule(1.0, 0.5, start=2, length=2)
    kappa.set_epoch_length(2)
    found = []
    for _ in range(4):
        kappa.step_epoch()
        for _ in range(2):
            kappa.step_batch()
            found.append(kappa.get())
    assert found == [1, 1, 0.875, 0.75, 0.625, 0.5, 0.5, 0.5]
    kappa.eval()
    assert kappa.get() == 0.5
