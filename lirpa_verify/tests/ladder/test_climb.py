"""Steps are taken in order, each for what is open, and none after the decision."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from lirpa_verify import robust
from lirpa_verify.bounding import Bounder
from lirpa_verify.clock import Clock
from lirpa_verify.ladder import BoundStep, Context, Progress, climb
from lirpa_verify.ladder.standard import standard_ladder
from lirpa_verify.network import from_module
from lirpa_verify.region import Region
from lirpa_verify.task import Task
from torch import nn

from lirpa_core import PerturbationLpNorm


@dataclass(frozen=True)
class Closes:
    """A step that closes some violations of those that are open, and notes what it saw."""

    name: str
    closes: int
    seen: list[list[int]] = field(default_factory=list)
    fits: bool = True

    def applies(self, progress: Progress) -> bool:
        return self.fits

    def run(self, progress: Progress, context: Context) -> Progress:
        self.seen.append(progress.open)
        some = progress.open_rows[: self.closes]
        return progress.tightened(some, torch.ones(len(some), dtype=torch.float64))


@pytest.fixture
def task(relu_net: nn.Module) -> Task:
    x = torch.zeros(1, 2)
    network = from_module(relu_net, (x,))
    return Task.of(network, Region.around((x,), PerturbationLpNorm(eps=0.1)), robust(1).property_for(3))


def context(task: Task, limit: float = 60.0) -> Context:
    return Context(Bounder(task), Clock(limit), 0)


def test_each_step_works_on_what_the_ones_before_left_open(task: Task) -> None:
    steps = (Closes("first", 1), Closes("unfit", 1, fits=False), Closes("second", 1), Closes("never", 1))
    progress, records = climb(Progress.start(task), steps, context(task))
    assert progress.decided
    assert [s.seen for s in steps] == [[[0, 1]], [], [[1]], []]
    assert [(r.step, r.open_before, r.open_after) for r in records] == [("first", 2, 1), ("second", 1, 0)]


def test_nothing_is_done_when_the_time_is_over(task: Task) -> None:
    clock = Clock(1e-9)
    _, records = climb(Progress.start(task), (Closes("first", 2),), Context(Bounder(task), clock, 0))
    assert records == ()


def test_bounds_of_steps_are_those_of_the_core(task: Task) -> None:
    box = context(task)
    progress = BoundStep("CROWN", "CROWN").run(Progress.start(task), box)
    model = task.network.module
    points = task.region.perturbations[0].sample(torch.zeros(1, 2), 500)[:, 0]  # type: ignore[union-attr]
    outputs = model(points)
    smallest = (outputs[:, 1:2] - outputs[:, [0, 2]]).amin(0).double()
    assert bool((progress.lower <= smallest + 1e-5).all())
    assert bool((progress.lower >= smallest - 1).all())


def test_the_standard_ladder_goes_from_cheap_to_thorough() -> None:
    names = [step.name for step in standard_ladder()]
    order = ["attack", "IBP", "CROWN-IBP", "CROWN", "input splitting", "long attack", "α-CROWN"]
    assert [n for n in names if n in order] == order
