"""The kit passes honest rules, and catches every wrong one with a message that says what is wrong."""

from __future__ import annotations

import math
import subprocess
import sys

import honest
import pytest
import torch
import wrong

from lirpa_core.errors import DomainError, UnsupportedOperandError
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import Diagonal
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.plugins import OperatorRegistry, default_registry, hookimpl
from lirpa_core.rules.call import Call, Const, Operand
from lirpa_testing import REGIMES, RuleViolation, boxes, check_box, check_rule, operand_boxes
from lirpa_testing.rules.strategies import edges

aten = torch.ops.aten


def box(lower: list[float], upper: list[float], *shape: int) -> Interval:
    return Interval(*(torch.tensor(v, dtype=torch.float64).reshape(-1, *shape) for v in (lower, upper)))


HONEST = {
    "relu": (honest.Relu(), honest.relu_call, {}),
    "tanh": (honest.Tanh(), honest.tanh_call, {}),
    "neg": (honest.Neg(), honest.neg_call, {}),
    "linear": (honest.Linear(), honest.linear_call, {}),
    "pad": (honest.Pad(), honest.pad_call, {}),
    "mul": (honest.Mul(), honest.mul_call, {}),
    "sqrt": (honest.Sqrt(), lambda: Call.of(aten.sqrt.default, Operand((3,))), {"domain": (0.0, math.inf)}),
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_rules_pass(name: str) -> None:
    rule, call, options = HONEST[name]
    report = check_rule(rule, call(), **options)
    assert report.examples >= 28
    assert report.refused == report.overflowed == 0
    assert set(report.gaps) == {"interval", "relax"}
    assert "boxes checked" in str(report)


def test_the_gallery_is_large_enough() -> None:
    assert len(wrong.RULES) + len(wrong.SETS) + len(wrong.MAPS) >= 80


#: Batches of boxes of one kind each, and one batch of boxes of all kinds, as conformance has it.
WAYS = {"apart": {}, "together": {"together": True, "batch": 48}}


@pytest.mark.parametrize(
    ("name", "way"),
    [
        pytest.param(name, way, marks=[] if (i + j) % 2 == 0 else pytest.mark.thorough)
        for i, name in enumerate(wrong.RULES)
        for j, way in enumerate(WAYS)
    ],
)
def test_wrong_rules_are_caught(name: str, way: str) -> None:
    fault = wrong.RULES[name]
    with pytest.raises(RuleViolation, match=fault.says) as caught:
        check_rule(fault.rule, fault.call(), **{**WAYS[way], **fault.options})
    violation = caught.value
    assert violation.check in fault.checks
    assert type(fault.rule).__name__ in str(violation)
    assert str(fault.call().node.target) in str(violation)
    assert "box of x0" in violation.details
    assert violation.details["regime"] in REGIMES
    assert all(str(list(shape)) in violation.details["call"] for shape in fault.call().shapes)
    if violation.check in ("lines", "interval", "proof", "shrinking", "degenerate"):  # the offending value
        assert violation.amount is not None and violation.amount > 0
        assert {"value", "bound", "line", "upper", "bound of the larger box"} & set(violation.details)


def test_violation_says_where_and_is_minimised() -> None:
    with pytest.raises(RuleViolation) as caught:
        check_rule(wrong.unary.BiasDropped(), honest.relu_call())
    violation = caught.value
    assert violation.mode == "relax"
    assert violation.amount == pytest.approx(
        violation.details["value"] - violation.details["bound"], rel=1e-6
    )
    assert violation.amount > 0
    point = violation.details["point x0"][tuple(violation.details["output element"])].item()
    assert max(point, 0.0) == violation.details["value"]
    assert "[1, 3]" in str(violation)


def test_an_operator_is_enough() -> None:
    assert check_rule(honest.Relu(), aten.relu.default, examples=7).examples >= 7


def test_registry_is_asked_for_the_rule() -> None:
    class Registry:
        def rule_for(self, op: object) -> object:
            return honest.Relu() if op is aten.relu.default else None

    assert check_rule(Registry(), aten.relu.default, examples=7).subject.startswith("aten.relu.default (Relu")
    with pytest.raises(RuleViolation, match="no rule for this operator"):
        check_rule(Registry(), aten.tanh.default)


def test_the_plugin_is_named_where_it_is_known() -> None:
    class Plugin:
        LIRPA_API_VERSION = 1

        @hookimpl
        def lirpa_register_operators(self, registry: OperatorRegistry) -> None:
            registry.register(aten.relu.default, wrong.unary.BiasDropped(), override=True)

    registry = default_registry().extended(Plugin(), name="mine")
    with pytest.raises(
        RuleViolation, match=r"aten.relu.default \(BiasDropped, family unary, plugin 'mine'\): "
    ):
        check_rule(registry, honest.relu_call())
    assert "plugin 'core'" in check_rule(default_registry(), aten.relu.default, examples=7).subject
    assert default_registry().plugin_of(aten.relu.default) == "core"
    assert default_registry().plugin_of(print) is None
    whole = Call.of(wrong.unary.bump, Operand((1,))).node.target
    assert default_registry().plugin_of(whole) is None
    assert default_registry().with_rules({wrong.unary.bump: honest.Relu()}).plugin_of(whole) is not None


def test_what_is_no_rule() -> None:
    with pytest.raises(RuleViolation, match="is no subclass of Rule"):
        check_rule(object(), aten.relu.default)
    with pytest.raises(RuleViolation, match="pass an instance"):
        check_rule(honest.Relu, aten.relu.default)
    with pytest.raises(ValueError, match="unknown checks"):
        check_rule(honest.Relu(), aten.relu.default, without=("nonsense",))


def test_boxes_of_one_kind_that_are_refused_do_not_hide_the_others() -> None:
    class Narrow(wrong.unary.BiasDropped):
        def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
            if bool((inputs[0].width > 1e3).any()):
                raise DomainError("too wide")
            return super().interval(call, inputs)

    options = {"together": True, "regimes": ("huge", "kinks"), "examples": 16, "batch": 16}
    with pytest.raises(RuleViolation) as caught:
        check_rule(Narrow(), honest.relu_call(), **options)
    assert caught.value.details["regime"] == "kinks"


def test_refusal_of_the_call_is_passed_on() -> None:
    class Picky(honest.Relu):
        def check(self, call: Call) -> None:
            raise UnsupportedOperandError("not today")

    with pytest.raises(UnsupportedOperandError, match="not today"):
        check_rule(Picky(), aten.relu.default)


def test_refused_boxes_are_counted_and_refusing_all_is_a_failure() -> None:
    call = Call.of(aten.sqrt.default, Operand((3,)))
    report = check_rule(honest.Sqrt(), call, boxes=boxes((3,), regime="tiny", domain=(0.0, 1.0)), examples=8)
    assert report.examples > 0
    with pytest.raises(RuleViolation, match="nothing was checked"):
        check_rule(honest.Sqrt(), call, domain=(-9.0, -1.0), examples=7)


def test_interval_only_rule() -> None:
    class Square(wrong.unary.EndsOnly):
        def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
            low, high = inputs[0].lower, inputs[0].upper
            largest = low.abs().maximum(high.abs())
            least = torch.where(
                (low <= 0) & (high >= 0), torch.zeros_like(low), low.abs().minimum(high.abs())
            )
            return Interval(least**2, largest**2)

    assert set(check_rule(Square(), wrong.unary.square()).gaps) == {"interval"}


def test_batched_constants_are_kept_apart() -> None:
    class Scale(honest.Neg):
        def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
            a, b = (call["other"].value * e for e in (inputs[0].lower, inputs[0].upper))
            return Interval(a.minimum(b), a.maximum(b))

        def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
            return Relaxation.exactly(Affine((Diagonal(call["other"].value, call.shapes[0]),)))

    plain = Call.of(aten.mul.Tensor, Operand((2,)), torch.ones(2, dtype=torch.float64))
    factors = Const(torch.tensor([[1.0, -2.0], [3.0, 0.0]], dtype=torch.float64), batched=True)
    call = Call(plain.node, {**plain.arguments, "other": factors}, plain.operands, plain.shapes, batch=2)
    assert check_rule(Scale(), call, examples=7).examples >= 7

    class FirstOnly(Scale):
        def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
            a, b = (call["other"].value[:1] * e for e in (inputs[0].lower, inputs[0].upper))
            return Interval(a.minimum(b), a.maximum(b))

    with pytest.raises(RuleViolation, match="interval"):
        check_rule(FirstOnly(), call)


def test_operators_that_overflow_are_left_out() -> None:
    class Exp(honest.Base):
        modes = ("interval",)

        def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
            return Interval(inputs[0].lower.exp(), inputs[0].upper.exp())

        def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
            raise NotImplementedError

    assert check_rule(Exp(), aten.exp.default, examples=35).overflowed > 0


def test_many_dimensions_use_random_corners() -> None:
    call = Call.of(aten.relu.default, Operand((5, 8)))
    assert check_rule(honest.Relu(), call, examples=7).examples >= 7
    with pytest.raises(RuleViolation, match=r"shape \[5, 8\] in"):
        check_rule(wrong.unary.BiasDropped(), call)


def test_one_box() -> None:
    call = honest.tanh_call()
    check_box(honest.Tanh(), call, (box([-1.0, 0.0] * 3, [1.0, 0.0] * 3, 2),))
    with pytest.raises(RuleViolation, match="affine function"):
        check_box(wrong.unary.InflectionForgotten(), call, (box([-1.0, 0.0] * 3, [3.0, 0.0] * 3, 2),))


def test_scalar_outputs() -> None:
    class Ones(honest.Weight):
        def apply(self, x: torch.Tensor, lead: int = 1) -> torch.Tensor:
            return x.flatten(lead).sum(-1)

        apply_abs = apply

        def transpose(self, A: torch.Tensor) -> torch.Tensor:
            return A[..., None, None].expand(*A.shape, *self.shape)

    class Sum(honest.Neg):
        def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
            return Interval(inputs[0].lower.flatten(1).sum(1), inputs[0].upper.flatten(1).sum(1))

        def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
            return Relaxation.exactly(Affine((Ones(torch.ones(()), call.shapes[0]),)))

    assert check_rule(Sum(), Call.of(aten.sum.default, Operand((2, 3)))).examples >= 28


def test_boolean_outputs_are_bounded_by_floats() -> None:
    class Positive(honest.Base):
        modes = ("interval",)

        def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
            return Interval(*((e > 0).to(e.dtype) for e in (inputs[0].lower, inputs[0].upper)))

        def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
            raise NotImplementedError

    call = Call.of(aten.gt.Scalar, Operand((3,)), 0.0)
    assert check_rule(Positive(), call).examples >= 28


def test_same_seed_same_finding() -> None:
    found = []
    for _ in range(2):
        with pytest.raises(RuleViolation) as caught:
            check_rule(wrong.unary.SlopeOutsideTheBox(), honest.tanh_call(), seed=3)
        found.append(str(caught.value))
    assert found[0] == found[1]


def test_strategies() -> None:
    import hypothesis
    from hypothesis import strategies as st

    @hypothesis.given(st.data())
    @hypothesis.settings(max_examples=40, deadline=None, database=None)
    def draw(data: st.DataObject) -> None:
        regime = data.draw(st.sampled_from(REGIMES))
        a, b = data.draw(
            operand_boxes([(2, 1), (40,)], regime=regime, domains=[(0.5, 2.0), (-math.inf, 0.0)])
        )
        assert a.lower.shape == (3, 2, 1)
        assert b.upper.shape == (3, 40)
        assert (a.lower <= a.upper).all()
        assert (b.lower <= b.upper).all()
        assert (a.lower >= 0.5).all()
        assert (a.upper <= 2).all()
        assert (b.upper <= 0).all()
        if regime == "degenerate":
            assert torch.equal(a.lower, a.upper)

    draw()
    with pytest.raises(ValueError, match="unknown regime"):
        edges("narrow")


def test_the_library_itself_does_not_need_hypothesis() -> None:
    code = "import lirpa_core, lirpa_core.perturbations.tensors, sys; sys.exit('hypothesis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
