"""Options: typed, validated, and with an effect."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.api.options import BoundOptions
from lirpa_core.errors import OptionError


@pytest.mark.parametrize(
    ("option", "slope"), [("adaptive", 1.0), ("same-slope", 0.75), ("zero-lb", 0.0), ("one-lb", 1.0)]
)
def test_lower_slope_of_relu(option: str, slope: float) -> None:
    x = torch.tensor([[1.0, 5.0]], dtype=torch.float64)  # the first is unstable on [-1, 3], the second active
    point = BoundedTensor(x, PerturbationLpNorm(eps=2.0))
    bounded = BoundedModule(nn.ReLU(), x, bound_opts={"activation_bound_option": option})
    _, _, A = bounded.compute_bounds(x=point, return_A=True)
    found = A[bounded.output_name[0]][bounded.input_name[0]]
    assert found["lA"][0].diagonal().tolist() == pytest.approx([slope, 1.0])
    assert found["uA"][0].diagonal().tolist() == pytest.approx([0.75, 1.0])


def test_options_can_change_later() -> None:
    x = torch.tensor([[1.0]])
    point = BoundedTensor(x, PerturbationLpNorm(eps=2.0))
    bounded = BoundedModule(nn.ReLU(), x)
    C = torch.ones(1, 1, 1)
    before = bounded.compute_bounds(x=point, C=C, method="CROWN-IBP", return_A=True).A
    bounded.set_bound_opts({"relu": "zero-lb"})
    after = bounded.compute_bounds(x=point, C=C, method="CROWN-IBP", return_A=True).A
    name, inner = bounded.output_name[0], bounded.input_name[0]
    assert before is not None and after is not None
    assert before[name][inner]["lA"].item() == 1.0 and after[name][inner]["lA"].item() == 0.0


def test_options_are_a_dictionary() -> None:
    with pytest.raises(OptionError, match=r"\['rounding'\].*dictionary"):
        BoundOptions().updated(["rounding"])  # type: ignore[arg-type]


def test_options_are_immutable_and_cumulative() -> None:
    first = BoundOptions()
    second = first.updated({"crown_batch_size": 5}).updated({"memory_budget": 10})
    assert first.crown_batch_size is None and (second.crown_batch_size, second.memory_budget) == (5, 10)
