"""What an optimizer may choose is tried by the kit: a share that is sound only at its start is caught."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.plugins import default_registry
from lirpa_core.rules import Call, Operand, Slope
from lirpa_core.rules.general import General
from lirpa_testing import RuleViolation, check_rule

aten = torch.ops.aten
RIGHT = default_registry().rule_for(aten.maximum.default)
assert isinstance(RIGHT, General) and RIGHT.affine_with is not None and RIGHT.choices is not None


def call() -> Call:
    return Call.of(aten.maximum.default, Operand((3,)), Operand((3,)))


def lowered(call: Call, inputs: tuple[Interval, ...], slopes: Sequence[Tensor]) -> Relaxation:
    """The right planes of the default threshold, the upper one moved down as the threshold moves."""
    assert RIGHT.affine_with is not None and RIGHT.choices is not None
    starts = [slope.start for slope in RIGHT.choices(call, inputs)]
    found = RIGHT.affine_with(call, inputs, [slopes[0], starts[1]])
    assert found.upper.bias is not None
    return Relaxation(found.lower, Affine(found.upper.terms, found.upper.bias + (slopes[1] - starts[1])))


def badly_shaped(call: Call, inputs: tuple[Interval, ...]) -> tuple[Slope, ...]:
    assert RIGHT.choices is not None
    shares, threshold = RIGHT.choices(call, inputs)
    return shares, Slope(threshold.start, threshold.least.flatten(), threshold.greatest)


def test_the_right_rule_passes() -> None:
    assert check_rule(RIGHT, call()).examples > 0


def test_a_choice_that_is_unsound_away_from_its_start_is_caught() -> None:
    with pytest.raises(RuleViolation, match="above the upper affine function"):
        check_rule(dataclasses.replace(RIGHT, affine_with=lowered), call())


def test_a_range_of_another_shape_is_caught() -> None:
    with pytest.raises(RuleViolation, match="least value of slope 1 has shape"):
        check_rule(dataclasses.replace(RIGHT, choices=badly_shaped), call())
