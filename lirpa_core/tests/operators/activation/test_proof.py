"""Every unary operator has an oracle, which agrees with PyTorch, and its rule is proved on every kind of box."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from flint import arb, ctx

from lirpa_testing.proof import ALLOWED_ULPS, ORACLES, Arguments, Jet, prove_bounds, prove_unary

aten = torch.ops.aten

BOXES = 12


def test_every_operator_has_an_oracle(rules: Any) -> None:
    assert set(rules) <= set(ORACLES)
    assert set(ORACLES) - {torch.ops.lirpa.derivative.default} <= set(
        rules
    )  # derivatives have tests of their own


def test_oracle_is_the_operator(case: Any) -> None:
    box = case.boxes(30, seed=11)
    x = torch.cat([box.lower.flatten(), box.upper.flatten()])
    y = case.value(x)
    oracle = ORACLES[case.op](Arguments(case.call(), (0, 0, 0)))
    with ctx.workprec(128):
        for at, expected in zip(x.tolist(), y.tolist(), strict=True):
            unit = torch.finfo(torch.float64).eps * (abs(expected) + oracle.magnitude(at)) + 1e-307
            for piece in oracle.pieces(at, at):
                assert piece.start == piece.end == at
                assert abs(piece.formula(Jet.value(arb(at))).f - expected) < 4 * unit, at


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_rule_is_proved(case: Any, dtype: torch.dtype) -> None:
    """Within half of what the kit allows."""
    if dtype == torch.float32:  # nothing may overflow
        case = dataclasses.replace(
            case, reach={100.0: 8.0, 300.0: 60.0, 500.0: 60.0}.get(case.reach, case.reach)
        )
    call = dataclasses.replace(case.call(dtype), batch=BOXES)
    proof = prove_unary(case.rule, call, case.boxes(BOXES, dtype, seed=12), ulps=ALLOWED_ULPS / 2)
    assert not proof.findings


def test_lines_of_any_slope_are_proved(case: Any) -> None:
    call = dataclasses.replace(case.call(), batch=BOXES)
    box = case.boxes(BOXES, seed=13)
    generator = torch.Generator().manual_seed(2)
    k = 10 ** torch.randint(-2, 3, box.lower.shape, generator=generator)
    k = k * torch.randn(box.lower.shape, generator=generator, dtype=torch.float64)
    lines = case.rule.relax_with(call, (box,), (k, k))
    assert not prove_bounds(call, box, None, lines, ulps=ALLOWED_ULPS / 2).findings
