"""The rules keep their promises, on boxes that are drawn to break them."""

from __future__ import annotations

import pytest
import torch
from lirpa_core.registry import build_registry
from lirpa_core.rules import Call, Operand
from lirpa_core.testing import check_rule

from {{ cookiecutter.module_name }} import Squash, bump, differences, length, pairwise, plugin

KNOWN = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)

#: Every operator with its operands, the shapes being those of one example.
CALLS = {
    "differences": Call.of(differences, Operand((4,))),
    "pairwise": Call.of(pairwise, Operand((2,)), Operand((3,))),
    "pairwise, one factor known": Call.of(pairwise, Operand((2,)), KNOWN),
    "squash": Call.of(Squash(), Operand((3,))),
    "sharp squash": Call.of(Squash(5.0), Operand((3,))),
    "bump": Call.of(bump, Operand((3,))),
    "length": Call.of(length, Operand((2,)), Operand((2,))),
    "length, one side known": Call.of(length, Operand((3,)), KNOWN),
}

#: Where a function or its curvature changes character: boxes are drawn around these.
KINKS = {"bump": (-(0.5**0.5), 0.0, 0.5**0.5)}


@pytest.mark.parametrize("name", CALLS)
def test_rule_is_sound(name: str) -> None:
    check_rule(build_registry([plugin]), CALLS[name], kinks=KINKS.get(name, (0.0,)), examples=7)
