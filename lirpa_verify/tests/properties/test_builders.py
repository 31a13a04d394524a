"""Builders say the same as what they are called, at random outputs."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from lirpa_verify import Property, monotone, output_in_box, robust, targeted
from lirpa_verify.errors import PropertyError


def violated(prop: Property, outputs: torch.Tensor) -> bool:
    values = [Fraction(v) for v in outputs.tolist()]
    return any(all(i.holds(values, []) for i in c) for c in prop.violations)


@pytest.fixture(params=range(20))
def outputs(request: pytest.FixtureRequest) -> torch.Tensor:
    generator = torch.Generator().manual_seed(request.param)
    return torch.randint(-2, 3, (4,), generator=generator).double()  # whole numbers, so that ties happen


def test_robust_is_violated_where_another_class_is_at_least_as_large(outputs: torch.Tensor) -> None:
    others = torch.cat([outputs[:1], outputs[2:]])
    assert violated(robust(1).property_for(4), outputs) == bool((others >= outputs[1]).any())


def test_targeted_looks_at_one_other_class(outputs: torch.Tensor) -> None:
    assert violated(targeted(0, 3).property_for(4), outputs) == bool(outputs[3] >= outputs[0])


def test_limits_themselves_are_allowed(outputs: torch.Tensor) -> None:
    prop = output_in_box(lower=-1, upper=[0, 1, 2, 3]).property_for(4)
    outside = (outputs < -1).any() | (outputs > torch.arange(4)).any()
    assert violated(prop, outputs) == bool(outside)


def test_monotone_is_violated_where_the_order_is_not_kept(outputs: torch.Tensor) -> None:
    sequence = outputs[[2, 0, 3]]
    assert violated(monotone([2, 0, 3]).property_for(4), outputs) == bool((sequence.diff() < 0).any())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: robust(4).property_for(4), "mentions class 4, but the network has 4"),
        (lambda: targeted(1, 1), "both 1"),
        (lambda: output_in_box(), "give lower, upper, or both"),
        (lambda: output_in_box(upper=[1, 2]).property_for(3), "2 limits for 3 outputs"),
        (lambda: output_in_box(upper=float("nan")), "no finite number"),
        (lambda: monotone([1]), "two or more different"),
        (lambda: monotone([0, 9]).property_for(3), "mentions output 9"),
        (lambda: Property(()), "at least one violation"),
        (lambda: Property(((),)), "at least one inequality"),
    ],
)
def test_what_makes_no_sense_is_refused(make: object, message: str) -> None:
    with pytest.raises(PropertyError, match=message):
        make()  # type: ignore[operator]
