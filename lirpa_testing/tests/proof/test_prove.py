"""Right rules are proved; wrong ones refuted where samples see nothing; what is neither is said so."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import Diagonal, LinearOp
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.plugins import default_registry
from lirpa_core.rules import CONVEX, Arc, Call, Curve, Operand, Rule, Unary
from lirpa_testing import RuleViolation, check_rule
from lirpa_testing.proof import Jet, Piecewise, Refuted, Smooth, Undecided, line, prove_unary

aten = torch.ops.aten


def box(lower: list[float], upper: list[float]) -> Interval:
    return Interval(*(torch.tensor([v], dtype=torch.float64) for v in (lower, upper)))


def rule_of(op: Any) -> Any:
    return default_registry().rule_for(op)


@dataclasses.dataclass(frozen=True)
class Shifted(Rule):
    """A right rule whose lower line (or upper end) is moved a little."""

    base: Any
    line: float = 0.0
    end: float = 0.0
    family = "unary"

    def unstable_inputs(self, call: Call, inputs: Any) -> Any:
        return self.base.unstable_inputs(call, inputs)

    def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        right = self.base.interval(call, inputs)
        return Interval(right.lower, right.upper - self.end * inputs[0].width)

    def relax(self, call: Call, inputs: tuple[Interval, ...]) -> Relaxation:
        chord = self.base.relax(call, inputs).upper.terms[0].slope
        right = self.base.relax_with(call, inputs, (chord, chord))
        bias = right.lower.bias + self.line * inputs[0].width
        return Relaxation(Affine(right.lower.terms, bias), right.upper)


def test_right_rules_are_proved() -> None:
    for op in (aten.sigmoid.default, aten.exp.default, aten.relu.default, aten.sin.default):
        proof = prove_unary(rule_of(op), Call.of(op, Operand((3,))), box([-3.0, 0.0, 1.0], [2.0, 0.0, 1e2]))
        assert proof.verdict == "proved"
        assert proof.proved == proof.elements == 3
        assert proof.parts >= 3


def test_a_billionth_is_seen_where_samples_see_nothing() -> None:
    rule = Shifted(rule_of(aten.exp.default), line=1e-9)
    options: dict[str, Any] = {"regimes": ["wide"], "examples": 30, "batch": 3}
    assert check_rule(rule, aten.exp.default, without=["proof"], **options).proved == 0
    with pytest.raises(
        RuleViolation, match="by proof, a value lies below the lower affine function"
    ) as caught:
        check_rule(rule, aten.exp.default, **options)
    assert caught.value.check == "proof"
    assert "* x +" in caught.value.details["line"]
    low, high = 0.0, 3.0
    proof = prove_unary(rule, Call.of(aten.exp.default, Operand((1,))), box([low], [high]))
    finding = proof.refuted
    assert proof.verdict == "refuted" and proof.proved == 0
    assert finding is not None and finding.claim == "lower line" and finding.box == (low, high)
    assert isinstance(finding.verdict, Refuted)
    assert finding.verdict.point == pytest.approx(math.log((math.exp(3) - 1) / 3), rel=1e-3)
    assert finding.verdict.amount == pytest.approx(3e-9, rel=1e-2)


def test_an_interval_is_refuted() -> None:
    rule = Shifted(rule_of(aten.exp.default), end=1e-9)
    proof = prove_unary(rule, Call.of(aten.exp.default, Operand((1,))), box([0.0], [3.0]))
    assert [f.claim for f in proof.findings] == ["upper end"]
    with pytest.raises(RuleViolation, match="above the interval") as caught:
        check_rule(rule, aten.exp.default, without=["interval", "degenerate"], regimes=["wide"])
    assert caught.value.mode == "interval" and "bound" in caught.value.details


def bump(x: Tensor) -> Tensor:
    return x + 1e-3 * torch.exp(-((1e5 * (x - 0.3)) ** 2))


def bump_formula(x: Jet) -> Jet:
    return x + (-(((x - 0.3) * 1e5) ** 2)).exp() * 1e-3


STRAIGHT = Unary(Curve(f=lambda x: x, df=torch.ones_like, monotone=1))


def test_a_bump_between_the_samples_is_found() -> None:
    call = Call.of(bump, Operand((3,)))
    options: dict[str, Any] = {"domain": (-5.0, 5.0), "examples": 14}
    report = check_rule(STRAIGHT, call, **options)
    assert report.proved == 0 and report.sampled > 0  # without an oracle
    with pytest.raises(RuleViolation, match="by proof, a value lies above the"):
        check_rule(STRAIGHT, call, oracle=bump_formula, **options)


def test_an_oracle_for_a_function_of_ones_own() -> None:
    call = Call.of(torch.nn.functional.softsign, Operand((2,)))
    left = Arc(CONVEX, end=0.0, inverse=lambda k: 1 - k.clamp(min=0).rsqrt())
    right = Arc(-CONVEX, start=0.0, inverse=lambda k: k.clamp(min=0).rsqrt() - 1)
    rule = Unary(
        Curve(lambda x: x / (1 + x.abs()), lambda x: 1 / (1 + x.abs()) ** 2, (left, right), monotone=1)
    )
    oracle = Piecewise([lambda x: x / (1 - x), lambda x: x / (1 + x)], [0.0])
    report = check_rule(rule, call, oracle=oracle, examples=14, batch=3)
    assert report.proved > 0 and report.sampled == 0
    assert f"{report.proved} elements proved" in str(report)


def test_undecided_is_no_success() -> None:
    call = Call.of(aten.exp.default, Operand((1,)))
    wide = box([-30.0], [30.0])

    # Nothing can be said of the second part, whatever the width of the box.
    vague = Smooth(lambda x: x.exp() + (x**2 - x * x) * 1e300, adds=lambda _: 0.0)
    proof = prove_unary(rule_of(aten.exp.default), call, wide, vague, budget=50)
    assert proof.verdict == "undecided" and proof.proved == 0 and proof.refuted is None
    assert all(isinstance(f.verdict, Undecided) and f.verdict.lower < f.verdict.upper for f in proof.findings)
    report = check_rule(rule_of(aten.exp.default), call, oracle=vague, examples=7, regimes=["wide"])
    assert report.sampled > 0


def test_nothing_is_known_outside_of_the_domain() -> None:
    call = Call.of(aten.exp.default, Operand((1,)))
    proof = prove_unary(rule_of(aten.exp.default), call, box([-2.0], [-1.0]), lambda x: x.log())
    assert proof.verdict == "undecided" and len(proof.findings) == 4


def test_what_cannot_be_proved_is_refused() -> None:
    with pytest.raises(LookupError, match="pass oracle="):
        prove_unary(STRAIGHT, Call.of(bump, Operand((1,))), box([0.0], [1.0]))
    mul = Call.of(aten.mul.Tensor, Operand((1,)), Operand((1,)))
    with pytest.raises(LookupError, match="2 operands"):
        prove_unary(STRAIGHT, mul, box([0.0], [1.0]), lambda x: x)

    class Cumulative(LinearOp):
        in_shape = out_shape = (2,)

        def apply(self, x: Tensor, lead: int = 1) -> Tensor:
            return x.cumsum(-1)

        apply_abs = apply

        def transpose(self, A: Tensor) -> Tensor:
            return A.flip(-1).cumsum(-1).flip(-1)

    class Sums:
        family, modes = "unary", ("backward",)

        def needs_interval(self, call: Call) -> tuple[bool, ...]:
            return (True,)

        def relax(self, call: Call, inputs: Any) -> Relaxation:
            return Relaxation.exactly(Affine((Cumulative(),)))

    with pytest.raises(LookupError, match="not elementwise"):
        prove_unary(Sums(), Call.of(aten.relu.default, Operand((2,))), box([0.0, 0.0], [1.0, 1.0]))  # type: ignore[arg-type]


def test_elements_and_constant_lines() -> None:
    class Flat:
        family, modes = "unary", ("backward",)

        def needs_interval(self, call: Call) -> tuple[bool, ...]:
            return (False,)

        def relax(self, call: Call, inputs: Any) -> Relaxation:
            one = torch.ones(1, 5, dtype=torch.float64)
            return Relaxation(Affine((None,), -one), Affine((None,), one))

    flat: Any = Flat()
    call = Call.of(aten.sin.default, Operand((5,)))
    wide = box([-1e3] * 5, [1e3] * 5)
    assert prove_unary(flat, call, wide).proved == 5
    assert prove_unary(flat, call, wide, elements=2).elements == 2
    touching = prove_unary(flat, call, wide, Smooth(lambda x: x.sin() * 2))
    assert touching.verdict == "refuted"


def test_single_precision_has_its_own_allowance() -> None:
    call = Call.of(aten.tanh.default, Operand((3,), torch.float32))
    single = Interval(torch.tensor([[-3.0, 0.1, 1.0]]), torch.tensor([[2.0, 0.2, 5.0]]))
    rule = rule_of(aten.tanh.default)
    assert prove_unary(rule, call, single).verdict == "proved"
    assert prove_unary(rule, call, single, ulps=0).verdict == "refuted"


def test_lines_meet_at_a_kink() -> None:
    """The chord of ReLU is exact at both ends, and off by 1e-9 it is not."""
    call = Call.of(aten.relu.default, Operand((1,)))

    class Chord:
        family, modes = "unary", ("backward",)

        def __init__(self, off: float) -> None:
            self.off = off

        def needs_interval(self, call: Call) -> tuple[bool, ...]:
            return (True,)

        def relax(self, call: Call, inputs: Any) -> Relaxation:
            half = torch.full((1, 1), 0.5, dtype=torch.float64)
            zero = torch.zeros((1, 1), dtype=torch.float64)
            return Relaxation(
                Affine((Diagonal(zero, (1,)),)), Affine((Diagonal(half, (1,)),), half - self.off)
            )

    assert prove_unary(Chord(0.0), call, box([-1.0], [1.0]), ulps=0).verdict == "proved"  # type: ignore[arg-type]
    assert prove_unary(Chord(1e-9), call, box([-1.0], [1.0])).verdict == "refuted"  # type: ignore[arg-type]
    assert (
        prove_unary(Chord(0.0), call, box([-1.0], [1.0]), Piecewise([line(0.0), line(1.0)], [0.1])).verdict
        == "proved"
    )  # type: ignore[arg-type]
