"""Every unary operator has an oracle, which agrees with PyTorch, and its rule is proved on every kind of box."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from flint import arb, ctx

from lirpa_core.testing.proof import ORACLES, Arguments, Jet, prove_unary

aten = torch.ops.aten

#: PyTorch multiplies by a power of ten and rounds before it rounds: which way depends on more than the number.
NO_ORACLE = {aten.round.decimals}
BOXES = 12


def test_every_operator_has_an_oracle(rules: Any) -> None:
    assert set(rules) - set(ORACLES) == NO_ORACLE
    assert set(ORACLES) <= set(rules)


def test_oracle_is_the_operator(case: Any) -> None:
    if case.op in NO_ORACLE:
        return
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


def test_rule_is_proved(case: Any) -> None:
    if case.op in NO_ORACLE:
        return
    call = dataclasses.replace(case.call(), batch=BOXES)
    proof = prove_unary(case.rule, call, case.boxes(BOXES, seed=12))
    assert not proof.findings
