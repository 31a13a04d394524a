"""Splitting inputs decides what brute force decides, in the time there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
import torch
from lirpa_verify import output_in_box, verify
from lirpa_verify.branching import InputBranching, Longest, OpenBoxes, Sensitivity, Smart
from lirpa_verify.ladder import Attack
from lirpa_verify.search import InputSplitting
from lirpa_verify.search.queue import Boxes, Queue
from lirpa_verify.task import Counterexample, Task, replay
from torch import Tensor, nn

from lirpa_core import PerturbationLpNorm


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
    return model.double().eval()


def grid_minimum(model: nn.Module) -> float:
    axis = torch.linspace(-1, 1, 201, dtype=torch.float64)
    with torch.no_grad():
        return float(model(torch.cartesian_prod(axis, axis)).min())


@pytest.mark.parametrize("branching", [Longest(), Sensitivity(), Smart(), Smart(1)])
@pytest.mark.parametrize("seed", range(3))
def test_it_decides_close_to_the_minimum(branching: InputBranching, seed: int) -> None:
    model, ladder = network(seed), (InputSplitting(branching, batch=64),)
    least, x, ball = grid_minimum(model), torch.zeros(1, 2, dtype=torch.float64), PerturbationLpNorm(eps=1.0)
    above = verify(model, x, ball, output_in_box(lower=least + 1e-4), ladder=ladder, timeout=60)
    assert above.status == "refuted"
    # The gradient's length bounds how far the true minimum can be below the grid's.
    slope = float(
        torch.stack([m.weight.detach().abs().sum(1).max() for m in model if isinstance(m, nn.Linear)]).prod()
    )
    below = verify(model, x, ball, output_in_box(lower=least - 0.005 * slope), ladder=ladder, timeout=60)
    assert below.status == "proved"
    assert below.statistics.subproblems > 0


def test_the_best_bounds_so_far_come_back_when_the_time_is_over() -> None:
    model, x, ball = network(0), torch.zeros(1, 2, dtype=torch.float64), PerturbationLpNorm(eps=1.0)
    least = grid_minimum(model)

    states: list[object] = []
    result = verify(
        model,
        x,
        ball,
        output_in_box(lower=least - 1e-9),
        ladder=(InputSplitting(Longest(), methods=("IBP+backward",), batch=4),),
        timeout=0.3,
        report=states.append,
    )
    assert result.status in {"unknown", "refuted"}
    if result.status == "unknown":
        assert states
        assert -torch.inf < float(result.margins[0]) <= 1e-6


def test_a_long_search_has_a_thorough_attack_on_what_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []

    def run(
        self: Attack, task: Task, wanted: Sequence[int], *_: object
    ) -> tuple[Counterexample | None, Tensor]:
        seen.append(tuple(wanted))
        return replay(task, (lowest,)), torch.zeros(len(wanted))

    monkeypatch.setattr(Attack, "run", run)
    model, x, ball = network(0), torch.zeros(1, 2, dtype=torch.float64), PerturbationLpNorm(eps=1.0)
    axis = torch.linspace(-1, 1, 201, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        lowest = grid[model(grid).argmin()]
    box = output_in_box(
        lower=grid_minimum(model) - 0.02, upper=1e6
    )  # the upper limit is proved by the first box
    proved = verify(model, x, ball, box, ladder=(InputSplitting(attack=Attack(), attack_after=2, batch=4),))
    assert (proved.status, seen) == ("proved", [(0,)])
    seen.clear()
    monkeypatch.setattr("lirpa_verify.search.input_splitting._Search._attack", lambda *_: None)
    box = output_in_box(lower=grid_minimum(model) + 1e-4, upper=1e6)
    refuted = verify(model, x, ball, box, ladder=(InputSplitting(attack=Attack(), attack_after=2, batch=4),))
    assert (refuted.status, seen) == ("refuted", [(0,)])


def test_a_heuristic_of_ones_own_is_used() -> None:
    calls: list[int] = []

    @dataclass(frozen=True)
    class Second:
        def choose(self, boxes: OpenBoxes) -> Tensor:
            calls.append(len(boxes.lower))
            return torch.ones(len(boxes.lower), dtype=torch.long)

    model, x = network(1), torch.zeros(1, 2, dtype=torch.float64)
    verify(
        model, x, PerturbationLpNorm(eps=1.0), output_in_box(lower=grid_minimum(model) - 1e-3),
        ladder=(InputSplitting(Second()),), timeout=2,
    )  # fmt: skip
    assert calls


def boxes(worst: list[float]) -> Boxes:
    n = len(worst)
    zeros = torch.zeros(n, 1, dtype=torch.float64)
    return Boxes(
        zeros, zeros, torch.ones(n, 1, dtype=torch.bool), torch.tensor(worst).double(), torch.zeros(n).long()
    )


@pytest.mark.parametrize(("budget", "expected"), [(10**9, [-3.0, -2.0]), (1, [-1.0, -0.5])])
def test_the_queue_turns_around_when_memory_is_short(budget: int, expected: list[float]) -> None:
    queue = Queue(boxes([-2.0, -0.5]), budget)
    queue.push(boxes([-3.0, -1.0]))
    assert queue.worst == -3.0
    assert sorted(queue.pop(2).worst.tolist()) == expected
    assert len(queue) == 2


def test_only_few_inputs_in_one_box_are_split(
    relu_net: nn.Module, make_progress: Callable[..., object]
) -> None:
    step = InputSplitting(most_inputs=2)
    assert step.applies(make_progress(relu_net, PerturbationLpNorm(eps=0.1)))  # type: ignore[arg-type]
    assert not step.applies(make_progress(relu_net, PerturbationLpNorm(eps=0.1, norm=2)))  # type: ignore[arg-type]
    assert not InputSplitting(most_inputs=1).applies(make_progress(relu_net, PerturbationLpNorm(eps=0.1)))  # type: ignore[arg-type]


@pytest.fixture
def make_progress() -> Callable[..., object]:
    from lirpa_verify import robust
    from lirpa_verify.ladder import Progress
    from lirpa_verify.network import from_module
    from lirpa_verify.region import Region
    from lirpa_verify.task import Task

    def make(model: nn.Module, ball: PerturbationLpNorm) -> Progress:
        x = torch.zeros(1, 2)
        found = from_module(model, (x,))
        return Progress.start(Task.of(found, Region.around((x,), ball), robust(0).property_for(3)))

    return make
