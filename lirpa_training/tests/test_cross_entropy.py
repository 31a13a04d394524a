"""Bounds of the cross entropy against attacks, against intervals, and against each other."""

from __future__ import annotations

from functools import cache

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import InputError, SpecificationError
from lirpa_core.linear.interval import Interval
from lirpa_core.rules.relaxations.exponential import relative_chord
from lirpa_testing import method_names
from lirpa_training import PGD, CrossEntropyWrapper, certified_loss, margin_rows
from lirpa_training.margins import check_labels, other_classes

SLACK = 1e-9


@cache  # captured once; weights are read at each call
def captured(classes: int) -> BoundedModule:
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, classes))
    return BoundedModule(model.double(), torch.rand(2, 4).double())


def network(seed: int, classes: int, gain: float = 1.0) -> BoundedModule:
    torch.manual_seed(seed)
    bounded = captured(classes)
    for module in bounded.children():
        if isinstance(module, nn.Linear):
            module.reset_parameters()
    for parameter in bounded.parameters():
        parameter.data *= gain
        parameter.grad = None
    return bounded


def losses(
    bounded: BoundedModule, x: Tensor, y: Tensor, ball: PerturbationLpNorm
) -> tuple[dict[str, Tensor], Tensor]:
    """Each way to bound the loss of each example, and the worst loss that was found."""
    with torch.no_grad():
        bounds = {
            name: certified_loss(bounded, x, y, ball, method=method, fusion=fusion, reduction="none")
            for name, method, fusion in (
                ("unfused", "CROWN-IBP", False),
                ("fused", "CROWN-IBP", True),
                ("intervals", "IBP", False),
                ("CROWN fused", "CROWN", True),
            )
        }

    def loss(z: Tensor) -> Tensor:
        return F.cross_entropy(bounded(z), y, reduction="none")

    z = PGD(steps=10, restarts=2)(loss, x, ball)
    with torch.no_grad():
        samples = torch.stack([loss(s) for s in ball.sample(x, 20)])
        return bounds, loss(z).maximum(samples.amax(0))


SHARED = {
    "seed": st.integers(0, 10_000),
    "eps": st.sampled_from([0.0, 1e-9, 0.02, 0.3, 3.0]),
    "norm": st.sampled_from([1.0, 2.0, float("inf")]),
    "gain": st.sampled_from([0.3, 1.0, 4.0]),
}


@settings(max_examples=12)
@given(classes=st.integers(2, 7), **SHARED)
def test_every_bound_is_above_every_attack_and_at_most_that_of_intervals(
    seed: int, classes: int, eps: float, norm: float, gain: float
) -> None:
    model = network(seed, classes, gain=gain)
    x, y = torch.rand(3, 4).double(), torch.randint(0, classes, (3,))
    bounds, attacked = losses(model, x, y, PerturbationLpNorm(norm=norm, eps=eps))
    for name, bound in bounds.items():
        scale = SLACK * (1 + bound.abs())
        assert (bound >= attacked - scale).all(), name
        assert (bound <= bounds["intervals"] + scale).all(), name


@settings(max_examples=12)
@given(**SHARED)
def test_with_two_classes_fusion_only_loses(seed: int, eps: float, norm: float, gain: float) -> None:
    # One margin: the row is that margin, and its chord is above the exponential.
    model = network(seed, 2, gain=gain)
    x, y = torch.rand(3, 4).double(), torch.randint(0, 2, (3,))
    bounds, _ = losses(model, x, y, PerturbationLpNorm(norm=norm, eps=eps))
    assert (bounds["fused"] >= bounds["unfused"] - SLACK * (1 + bounds["fused"].abs())).all()


def test_with_three_classes_fusion_can_win() -> None:
    # Margins t and -t cannot both be large. Fused: log(1 + 2 cosh 1); unfused: log(1 + 2e).
    model = nn.Linear(1, 3, bias=False).double()
    model.weight.data = torch.tensor([[0.0], [1.0], [-1.0]]).double()
    x, y = torch.zeros(1, 1).double(), torch.tensor([0])
    bounds, attacked = losses(BoundedModule(model, x), x, y, PerturbationLpNorm(eps=1.0))
    e = torch.e
    assert bounds["fused"].item() == pytest.approx(torch.tensor(1 + e + 1 / e).log().item())
    assert bounds["unfused"].item() == pytest.approx(torch.tensor(1 + 2 * e).log().item())
    assert bounds["fused"].item() == pytest.approx(attacked.item())


@pytest.mark.parametrize("fusion", [False, True])
@pytest.mark.parametrize("classes", [3, 40])  # 40: margins from the scores' intervals
def test_without_perturbation_it_is_the_cross_entropy(fusion: bool, classes: int) -> None:
    model = network(0, classes)
    x, y = torch.rand(5, 4).double(), torch.randint(0, classes, (5,))
    bound = certified_loss(model, x, y, PerturbationLpNorm(eps=0.0), fusion=fusion)
    torch.testing.assert_close(bound, F.cross_entropy(model(x), y))


@pytest.mark.parametrize("fusion", [False, True])
def test_many_classes_are_sound(fusion: bool) -> None:
    model = network(1, 40)
    x, y = torch.rand(4, 4).double(), torch.randint(0, 40, (4,))
    bounds, attacked = losses(model, x, y, PerturbationLpNorm(eps=0.2))
    assert (bounds["fused" if fusion else "unfused"] >= attacked).all()


@pytest.mark.parametrize("gain", [30.0, 300.0])
def test_huge_margins_overflow_nothing(gain: float) -> None:
    model = network(2, 5, gain=gain)
    x, y = torch.rand(4, 4).double(), torch.randint(0, 5, (4,))
    loss = certified_loss(model, x, y, PerturbationLpNorm(eps=0.5), fusion=True)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("width", [0.0, 1e-300, 1e-12, 1e-3, 1.0, 50.0, 800.0])
def test_the_chord_through_the_upper_end_is_above_the_exponential(width: float) -> None:
    upper = torch.tensor(0.5).double()
    interval = Interval(upper - width, upper)
    slope = upper.exp() * relative_chord(interval.width)
    t = torch.linspace(0, 1, 101).double() * interval.width
    rounding = 1e-14 * upper.exp()  # the two ends cancel
    assert (upper.exp() - slope * t >= (upper - t).exp() - rounding).all()


@pytest.mark.parametrize("beta", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("fusion", [False, True])
def test_beta_mixes_backward_and_interval_bounds(beta: float, fusion: bool) -> None:
    model = network(3, 4)
    x, y = torch.rand(5, 4).double(), torch.randint(0, 4, (5,))
    bounded, ball = model, PerturbationLpNorm(eps=0.3)

    def at(weight: float) -> Tensor:
        return certified_loss(bounded, x, y, ball, beta=weight, fusion=fusion, reduction="none")

    ibp = certified_loss(bounded, x, y, ball, method="IBP", reduction="none")
    torch.testing.assert_close(at(0.0), ibp)
    # Each bound of the mixture is the mixture of the bounds, and the loss is monotone and convex in them.
    assert (at(1.0) <= at(beta) + 1e-12).all() and (at(beta) <= ibp + 1e-12).all()
    assert (at(1.0) < ibp).any()


def test_the_wrapper_is_the_cross_entropy_and_its_bounds_hold() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 4)).double()
    x, y = torch.rand(5, 4).double(), torch.randint(0, 4, (5,))
    loss = CrossEntropyWrapper(model)
    torch.testing.assert_close(loss(x, y).squeeze(1), F.cross_entropy(model(x), y, reduction="none"))
    ball = PerturbationLpNorm(eps=0.1)
    bounded = BoundedModule(loss, (x, y))
    for method in method_names():
        lower, upper = bounded.compute_bounds(x=(BoundedTensor(x, ball), y), method=method)
        values = torch.stack([loss(z, y) for z in ball.sample(x, 50)])
        assert (values >= lower - SLACK).all() and (values <= upper + SLACK).all(), method


def test_margins_are_in_the_order_of_the_classes() -> None:
    y = torch.tensor([0, 2, 1])
    scores = torch.tensor([[1.0, 2.0, 5.0]]).expand(3, -1)
    assert (margin_rows(y, 3) @ scores.unsqueeze(2)).squeeze(2).tolist() == [[-1, -4], [4, 3], [1, -3]]
    assert other_classes(y, 3).tolist() == [[1, 2], [0, 1], [0, 2]]
    with pytest.raises(SpecificationError, match="two classes"):
        margin_rows(torch.tensor([0]), 1)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 3]), r"labels\[1\] is 3, but the model has 3 outputs"),
        (torch.tensor([-1, 0]), r"labels\[0\] is -1"),
        (torch.tensor([0]), r"shape \[1\]; expected \[2\]"),
        (torch.tensor([[0], [1]]), r"shape \[2, 1\]"),
        (torch.tensor([0.0, 1.0]), "whole numbers"),
        ([0, 1], "list"),
    ],
)
def test_wrong_labels_are_refused(labels: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_labels(labels, 2, 3)
