"""The attack stays in the set, finds what there is, and says nothing that a replay does not confirm."""

from __future__ import annotations

import pytest
import torch
from lirpa_verify import Attack, robust, targeted
from lirpa_verify.clock import Clock
from lirpa_verify.network import from_module
from lirpa_verify.region import Region
from lirpa_verify.task import Task, replay
from torch import Tensor, nn

from lirpa_core import PerturbationLpNorm
from lirpa_core.errors import OptionError


def task_of(model: nn.Module, x: Tensor, ball: PerturbationLpNorm) -> Task:
    network = from_module(model, (x,))
    return Task.of(network, Region.around((x,), ball), robust(0).property_for(network.outputs))


class Narrow(nn.Module):
    """Class 1 wins only within 0.01 of one point, and the margin leads there."""

    def forward(self, x: Tensor) -> Tensor:
        distance = (x - torch.tensor([[0.37, -0.81]], dtype=x.dtype)).abs().sum(1)
        return torch.stack([distance, torch.full_like(distance, 0.01)], 1)


@pytest.mark.parametrize("norm", [float("inf"), 2.0])
def test_a_narrow_violation_is_found_inside_the_set(norm: float) -> None:
    x = torch.zeros(1, 2)
    task = task_of(Narrow().eval(), x, PerturbationLpNorm(eps=1.0, norm=norm))
    found, _ = Attack().run(task, [0], Clock(), seed=0)
    assert found is not None
    (z,) = found.inputs
    assert float(z.norm(p=norm)) <= 1 + 1e-6
    assert float((z - torch.tensor([0.37, -0.81])).abs().sum()) <= 0.01


def test_nothing_is_found_where_there_is_nothing(relu_net: nn.Module) -> None:
    x = torch.zeros(1, 2)
    model = nn.Sequential(relu_net, nn.Softmax(1), nn.Linear(3, 2)).eval()
    model[2].weight.data = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])  # the softmax adds up to one
    model[2].bias.data = torch.zeros(2)
    task = task_of(model, x, PerturbationLpNorm(eps=3.0))
    found, smallest = Attack().run(task, [0], Clock(), seed=0)
    assert found is None
    assert float(smallest[0]) == pytest.approx(1.0, abs=1e-5)


def test_a_point_outside_of_the_set_is_no_counterexample() -> None:
    task = task_of(Narrow().eval(), torch.zeros(1, 2), PerturbationLpNorm(eps=0.5))
    assert replay(task, (torch.tensor([0.37, -0.81]),)) is None
    wider = task_of(Narrow().eval(), torch.zeros(1, 2), PerturbationLpNorm(eps=1.0))
    assert replay(wider, (torch.tensor([0.37, -0.81]),)) is not None


def test_a_counterexample_that_only_rounding_makes_is_one_of_the_original() -> None:
    """The judge is the original in its own arithmetic, with exact comparisons of what it gives."""

    class Tie(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x + 1, (x + 1) - 1e-9], 1)  # equal in float32, apart in real arithmetic

    x = torch.zeros(1, 1)
    network = from_module(Tie().eval(), (x,))
    task = Task.of(network, Region.around((x,), PerturbationLpNorm(eps=0.1)), targeted(0, 1).property_for(2))
    assert replay(task, (torch.zeros(1),)) is not None


def test_settings_that_make_no_sense_are_refused() -> None:
    for wrong in ({"steps": 0}, {"restarts": -1}, {"samples": 0}, {"step_sizes": ()}, {"step_sizes": (0.0,)}):
        with pytest.raises(OptionError, match="must be positive"):
            Attack(**wrong)  # type: ignore[arg-type]
