"""Networks of float32 are bounded as they are: what is known of them exactly lies in bounds that are as narrow as those of float64."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from lirpa_verify import output_in_box, verify
from lirpa_verify.ladder import BoundStep
from lirpa_verify.widened import Widened, WidenedReader
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.plugins import LiveModel


class Tenth(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0.1 * x


class Third(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight / 3)


class Sixteen(nn.Module):
    """Adds 256 in bfloat16, where the next number is 258."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1).bfloat16()
        self.linear.weight.data.fill_(1.0)
        self.linear.bias.data.fill_(256.0)

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.linear(x.to(self.linear.weight.dtype)).to(x.dtype)
        return z - 256


def float32(value: float) -> Fraction:
    return Fraction(torch.tensor(value).item())


@pytest.mark.parametrize(
    ("module", "factor"),
    [
        (Tenth(), float32(0.1)),
        (nn.LeakyReLU(0.1), float32(0.1)),
        (Third(), Fraction((torch.tensor(1.0) / 3).item())),
        (nn.Sequential(nn.Linear(1, 1), nn.LeakyReLU(0.3)), float32(0.3)),
    ],
)
def test_numbers_are_those_that_kernels_of_float32_compute_with(module: nn.Module, factor: Fraction) -> None:
    for linear in (m for m in module.modules() if isinstance(m, nn.Linear)):
        linear.weight.data.fill_(1.0)
        linear.bias.data.zero_()
    x = torch.tensor([[-1024.0]], dtype=torch.float64)
    bounded = BoundedModule(Widened(LiveModel(module.eval())), x)
    point = BoundedTensor(x, PerturbationLpNorm(eps=0.0))
    for method in ("IBP", "CROWN"):
        lower, upper = (Fraction(v.item()) for v in bounded.compute_bounds(point, method=method))
        assert lower <= -1024 * factor <= upper
        assert upper - lower < Fraction(1, 10**9)


def test_what_only_a_copy_in_float64_does_is_not_proved() -> None:
    steps = [BoundStep("IBP", "IBP"), BoundStep("CROWN", "CROWN")]
    for module, value, limits in (
        (Tenth(), 1024.0, output_in_box(upper=102.400001)),  # 102.4000015…
        (Sixteen(), 0.3, output_in_box(lower=0.1)),  # 0
    ):
        x = torch.full((1, 1), value)
        assert verify(module.eval(), x, PerturbationLpNorm(eps=0.0), limits).status == "refuted"
        assert verify(module, x, PerturbationLpNorm(eps=0.0), limits, ladder=steps).status == "unknown"


def test_weights_that_changed_are_followed() -> None:
    linear = nn.Linear(1, 1).requires_grad_(requires_grad=False)
    x = torch.ones(1, 1, dtype=torch.float64)
    bounded = BoundedModule(Widened(LiveModel(linear.eval())), x)
    point = BoundedTensor(x, PerturbationLpNorm(eps=0.0))
    for change in (
        lambda: linear.weight.data.fill_(3.0),
        lambda: linear.bias.data.fill_(5.0),
        lambda: setattr(linear, "weight", nn.Parameter(torch.full((1, 1), -1.0), requires_grad=False)),
    ):
        change()
        lower, upper = bounded.compute_bounds(point, method="CROWN")
        assert float(lower) <= float(linear.weight) + float(linear.bias) <= float(upper)


def test_other_sources_are_left_to_other_readers() -> None:
    assert not WidenedReader().accepts(Tenth())
    assert not WidenedReader().accepts(LiveModel(Tenth()))
