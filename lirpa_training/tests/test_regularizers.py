"""The warm-up regulariser: zero where its conditions are met, and positive where they are not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lirpa_core import BoundedTensor, PerturbationLpNorm, functional
from lirpa_core.errors import OptionError
from lirpa_training.bounding import Bounding
from lirpa_training.regularizers import WarmupRegularizer


def value(weight: float, bias: list[float], **options: bool) -> float:
    layer = nn.Linear(2, 2).double()
    with torch.no_grad():
        layer.weight.copy_(weight * torch.eye(2, dtype=torch.float64))
        layer.bias.copy_(torch.tensor(bias, dtype=torch.float64))
    x = torch.zeros(1, 2, dtype=torch.float64)
    model = nn.Sequential(layer, nn.ReLU()).eval()
    problem = functional.bind(functional.capture(model, x), BoundedTensor(x, PerturbationLpNorm(eps=0.5)))
    regularizer = WarmupRegularizer(weight=1.0, tolerance=0.5, **options)
    return float(regularizer(Bounding(problem, functional.find_method("IBP"))).detach())


@pytest.mark.parametrize(("gain", "expected"), [(1.0, 0.0), (2.0, 0.0), (4.0, 0.5), (8.0, 0.75)])
def test_widths_may_grow_up_to_the_tolerance(gain: float, expected: float) -> None:
    assert value(gain, [1.0, -1.0], balance=False) == pytest.approx(
        expected, abs=1e-9
    )  # bounds are rounded outward


def test_active_and_inactive_neurons_weigh_the_same() -> None:
    assert value(1.0, [1.0, -1.0], tightness=False) == pytest.approx(0, abs=1e-9)
    assert value(1.0, [1.0, -0.5], tightness=False) == pytest.approx(
        0, abs=1e-9
    )  # half is within the tolerance
    assert value(1.0, [1.0, -0.25], tightness=False) == pytest.approx(0.5)
    assert value(1.0, [1.0, 1.0], tightness=False) == pytest.approx(1.0)


@pytest.mark.parametrize("options", [{"weight": -1.0}, {"tolerance": 0.0}, {"tolerance": 1.5}])
def test_options_are_checked(options: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=next(iter(options))):
        WarmupRegularizer(**options)
