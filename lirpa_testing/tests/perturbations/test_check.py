"""`check_perturbation` passes the core's sets and catches every wrong one."""

from __future__ import annotations

import math

import honest
import pytest
import torch
import wrong

from lirpa_core.errors import PerturbationError
from lirpa_core.perturbations import PerturbationLpNorm
from lirpa_testing import PerturbationViolation, check_perturbation


def nominal() -> torch.Tensor:
    return torch.rand(3, 2, 2, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("p", [1, 1.5, 2, 5, math.inf])
@pytest.mark.parametrize("box", [False, True])
@pytest.mark.parametrize("each", [False, True])
def test_core_sets_pass(p: float, box: bool, each: bool) -> None:
    eps = torch.tensor([0.0, 0.1, 2.0]) if each else 0.5
    ptb = PerturbationLpNorm(eps, p, **({"x_L": 0.0, "x_U": torch.ones(2)} if box else {}))
    report = check_perturbation(ptb, nominal())
    assert report.gap < 1e-6
    assert "gap" in str(report)


def test_boxes_and_elementwise_radii_pass() -> None:
    x = nominal()
    assert check_perturbation(PerturbationLpNorm(x_L=x - 0.1, x_U=x + 2), x).gap == 0
    assert check_perturbation(PerturbationLpNorm(torch.rand(2, 2)), x).gap == 0
    assert check_perturbation(PerturbationLpNorm(0.5, 2), x[:1]).gap < 1e-9
    assert check_perturbation(PerturbationLpNorm(0.5, 2), x[:, 0, 0]).gap < 1e-9


def image() -> torch.Tensor:
    return torch.rand(3, 2, 2, 2, generator=torch.Generator().manual_seed(0))


def test_a_set_that_is_not_convex_passes() -> None:
    assert check_perturbation(honest.Pixels(2), image()).gap < 1e-6


@pytest.mark.parametrize("name", wrong.SETS)
def test_wrong_sets_are_caught(name: str) -> None:
    ptb, check, says = wrong.SETS[name]
    pixels = isinstance(ptb, honest.Pixels)
    with pytest.raises(PerturbationViolation, match=says) as caught:
        check_perturbation(ptb, image() if pixels else nominal())
    assert caught.value.check == check
    assert repr(ptb) in str(caught.value)


def test_inexact_but_sound_sets_pass_if_said_so() -> None:
    assert check_perturbation(wrong.perturbations.BoxInsteadOfBall(0.5, 2), nominal(), exact=False).gap > 0.01


def test_refusal_of_the_value_is_passed_on() -> None:
    with pytest.raises(PerturbationError, match="eps has shape"):
        check_perturbation(PerturbationLpNorm(torch.ones(5), 2), nominal())
