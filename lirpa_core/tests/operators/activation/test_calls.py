"""Parameters, domains, refusals and other things that are not a matter of sampling."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lirpa_core.errors import UnsupportedOperandError
from lirpa_core.linear.interval import Interval
from lirpa_core.rules.base import MODES, Rule
from lirpa_core.rules.call import Call, Const, Operand

aten = torch.ops.aten


def box(lower: Any, upper: Any) -> tuple[Interval]:
    return (
        Interval(torch.as_tensor(lower, dtype=torch.float64), torch.as_tensor(upper, dtype=torch.float64)),
    )


def slopes(rule: Any, call: Call, inputs: tuple[Interval]) -> tuple[torch.Tensor, torch.Tensor]:
    relaxation = rule.relax(call, inputs)
    return relaxation.lower.terms[0].slope, relaxation.upper.terms[0].slope


def test_every_rule_is_a_rule_of_all_modes(rules: Any) -> None:
    assert len(rules) > 60
    for rule in rules.values():
        assert isinstance(rule, Rule)
        assert rule.family == "unary"
        assert rule.modes == MODES


def test_relu_has_the_adaptive_slope(rules: Any) -> None:
    rule, call = rules[aten.relu.default], Call.of(aten.relu.default, Operand((1, 5)))
    inputs = box([[[-1.0, -2.0, -1.0, 1.0, -3.0]]], [[[2.0, 1.0, 1.0, 2.0, -1.0]]])
    relaxation = rule.relax(call, inputs)
    assert relaxation.lower.terms[0].slope.tolist() == [[[1.0, 0.0, 0.0, 1.0, 0.0]]]
    assert relaxation.lower.bias is None
    assert relaxation.upper.terms[0].slope.tolist() == [[[2 / 3, 1 / 3, 0.5, 1.0, 0.0]]]
    torch.testing.assert_close(
        relaxation.upper.bias, torch.tensor([[[2 / 3, 2 / 3, 0.5, 0.0, 0.0]]]).double()
    )
    assert rule.unstable_inputs(call, inputs)[0].tolist() == [[[True, True, True, False, False]]]
    assert rule.needs_interval(call) == (True,)
    assert not rule.is_affine(call)


def test_slopes_are_those_of_relax(rules: Any) -> None:
    rule, call = rules[aten.sigmoid.default], Call.of(aten.sigmoid.default, Operand((1, 3)))
    inputs = box([[[-1.0, -2.0, 1.0]]], [[[2.0, 1.0, 4.0]]])
    stated = rule.slopes(call, inputs)
    assert all(map(torch.equal, (s.start for s in stated), slopes(rule, call, inputs)))
    assert all(bool(((s.least <= s.start) & (s.start <= s.greatest)).all()) for s in stated)


def test_prelu_has_a_slope_for_each_channel(rules: Any) -> None:
    weight = torch.tensor([0.1, 0.5, -2.0], dtype=torch.float64)
    for shape in ((1, 3), (1, 3, 4), (1, 3, 2, 2)):
        call = Call.of(aten.prelu.default, Operand(shape), weight)
        inputs = box(-torch.rand(5, *shape) - 1, -torch.rand(5, *shape) * 0.5)
        interval = rules[aten.prelu.default].interval(call, inputs)
        ends = [call.evaluate([x]) for x in (inputs[0].lower, inputs[0].upper)]
        torch.testing.assert_close(interval.lower, ends[0].minimum(ends[1]))
        torch.testing.assert_close(interval.upper, ends[0].maximum(ends[1]))
        lower, upper = slopes(rules[aten.prelu.default], call, inputs)
        expected = weight.reshape(3, *(1,) * (len(shape) - 2)).expand(5, *shape)
        assert torch.equal(lower, expected) and torch.equal(upper, expected)


def test_prelu_weight_may_differ_between_examples(rules: Any) -> None:
    weight = Const(torch.tensor([[0.1, 0.5], [0.2, 3.0]], dtype=torch.float64), batched=True)
    draft = Call.of(aten.prelu.default, Operand((1, 2, 3)), weight.value[0])
    call = Call(draft.node, {**draft.arguments, "weight": weight}, draft.operands, draft.shapes, 2)
    lower, _ = slopes(
        rules[aten.prelu.default], call, box(-torch.ones(2, 1, 2, 3) * 2, -torch.ones(2, 1, 2, 3))
    )
    assert torch.equal(lower, weight.value.reshape(2, 1, 2, 1).expand(2, 1, 2, 3))


def test_clamp_limits_may_differ_between_examples_and_broadcast(rules: Any) -> None:
    limits = torch.tensor([[[0.0], [1.0]], [[2.0], [3.0]]], dtype=torch.float64)  # [B=2, 2, 1]
    draft = Call.of(aten.clamp.Tensor, Operand((1, 3)), limits[0], None)
    assert draft.shape == (2, 3)
    call = Call(draft.node, {**draft.arguments, "min": Const(limits, True)}, draft.operands, draft.shapes, 2)
    inputs = box(torch.full((2, 1, 3), -1.0), torch.full((2, 1, 3), 2.5))
    interval = rules[aten.clamp.Tensor].interval(call, inputs)
    assert interval.lower.shape == interval.upper.shape == (2, 2, 3)
    assert torch.equal(interval.lower, limits.expand(2, 2, 3))
    relaxation = rules[aten.clamp.Tensor].relax(call, inputs)
    term = relaxation.lower.terms[0]
    assert term.slope.shape == (2, 2, 3) and term.shape == (1, 3)
    unstable = rules[aten.clamp.Tensor].unstable_inputs(call, inputs)[0]
    assert unstable.shape == (2, 1, 3) and unstable.all()


def test_shared_boxes_stay_shared(rules: Any) -> None:
    call = Call.of(aten.tanh.default, Operand((1, 3)), batch=7)
    inputs = box(torch.zeros(1, 1, 3), torch.ones(1, 1, 3))
    assert rules[aten.tanh.default].interval(call, inputs).lower.shape == (1, 1, 3)
    assert slopes(rules[aten.tanh.default], call, inputs)[0].shape == (1, 1, 3)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("log", (1e-300, 2.0), (0.0, 2.0)),
        ("log1p", (-0.5, 2.0), (-1.0, 2.0)),
        ("sqrt", (0.0, 2.0), (-1e-300, 2.0)),
        ("rsqrt", (1e-9, 2.0), (0.0, 2.0)),
        ("reciprocal", (-2.0, -1e-9), (-2.0, 0.0)),
        ("reciprocal", (1e-9, 2.0), (-1.0, 1.0)),
        ("pow-2", (1e-9, 2.0), (-1.0, 1.0)),
        ("pow1.5", (0.0, 2.0), (-1.0, 1.0)),
        ("pow-0.5", (0.1, 2.0), (0.0, 1.0)),
        ("asin", (-1.0, 1.0), (-1.0, 1.1)),
        ("acosh", (1.0, 2.0), (0.9, 2.0)),
        ("atanh", (-0.9, 0.9), (-0.9, 1.0)),
        ("tan", (-1.5, 1.5), (1.5, 1.6)),
        ("tan", (1.6, 4.7), (-2.0, 5.0)),
        ("log", (1.0, 2.0), (float("nan"), 2.0)),
    ],
)
def test_outside_of_the_domain_bounds_are_infinite(find: Any, name: str, good: Any, bad: Any) -> None:
    case = find(name)
    call = case.call()
    lower = torch.tensor([good[0], bad[0]], dtype=torch.float64).reshape(2, 1, 1).requires_grad_()
    upper = torch.tensor([good[1], bad[1]], dtype=torch.float64).reshape(2, 1, 1).requires_grad_()
    inputs = (Interval(lower, upper),)
    assert case.rule.domain_violation(call, inputs).flatten().tolist() == [False, True]
    interval = case.rule.interval(call, inputs)
    relaxation = case.rule.relax(call, inputs)
    for low, high in (
        (interval.lower, interval.upper),
        (relaxation.lower.bias, relaxation.upper.bias),
    ):
        assert low[0].isfinite().all() and high[0].isfinite().all()
        assert low[1].item() == -torch.inf and high[1].item() == torch.inf
    (relaxation.lower.bias[0] + interval.lower[0] - interval.upper[0]).sum().backward()
    assert not lower.grad.isnan().any() and not upper.grad.isnan().any()


def test_functions_on_the_whole_line_have_no_violation(find: Any) -> None:
    assert find("relu").rule.domain_violation(find("relu").call(), box([[[0.0]]], [[[1.0]]])) is None


def test_perturbed_parameters_are_refused(rules: Any) -> None:
    for op, args in (
        (aten.heaviside.default, (Operand((1, 2)), Operand((2,)))),
        (aten.heaviside.default, (torch.zeros(1, 2).double(), Operand((1, 2)))),
        (aten.bucketize.Tensor, (Operand((1, 2)), Operand((2,)))),
    ):
        with pytest.raises(UnsupportedOperandError, match="must be constant"):
            rules[op].check(Call.of(op, *args))


@pytest.mark.parametrize("base", [0.0, -2.0])
def test_bases_that_are_not_positive_are_refused(rules: Any, base: float) -> None:
    call = Call.of(aten.pow.Scalar, base, Operand((1, 2)))
    with pytest.raises(UnsupportedOperandError, match="not positive"):
        rules[aten.pow.Scalar].check(call)


def test_comparisons_are_zero_or_one_in_the_operands_dtype(rules: Any) -> None:
    call = Call.of(aten.gt.Scalar, Operand((1, 3), torch.float32), 1.0)
    inputs = (Interval(torch.tensor([[[-1.0, 0.5, 1.0]]]), torch.tensor([[[1.0, 2.0, 1.5]]])),)
    interval = rules[aten.gt.Scalar].interval(call, inputs)
    assert interval.lower.dtype == torch.float32
    assert interval.lower.tolist() == [[[0.0, 0.0, 0.0]]]
    assert interval.upper.tolist() == [[[0.0, 1.0, 1.0]]]


def test_overflow_leaves_the_finite_side_finite(rules: Any) -> None:
    call = Call.of(aten.exp.default, Operand((1, 1)))
    relaxation = rules[aten.exp.default].relax(call, box([[[0.0]]], [[[1e4]]]))
    assert relaxation.lower.bias.item() <= 1.0
    assert relaxation.lower.bias.isfinite() and relaxation.lower.terms[0].slope.isfinite()
    assert relaxation.upper.bias.item() == torch.inf
    huge = box([[[-1e308]]], [[[1.5e308]]])
    for name in ("relu", "tanh", "atan"):
        op = getattr(aten, name).default
        relaxation = rules[op].relax(Call.of(op, Operand((1, 1))), huge)
        for part in (relaxation.lower, relaxation.upper):
            assert part.terms[0].slope.isfinite().all()
            assert part.bias is None or part.bias.isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["relu", "sigmoid"])
def test_relaxations_compile_without_graph_breaks(find: Any, name: str) -> None:
    case = find(name)
    call = case.call()
    inputs = case.boxes(64)

    def lines(lower: torch.Tensor, upper: torch.Tensor) -> tuple[torch.Tensor, ...]:
        relaxation = case.rule.relax(call, (Interval(lower, upper),))
        low, up = relaxation.lower, relaxation.upper
        return low.terms[0].slope, up.terms[0].slope, up.bias

    compiled = torch.compile(lines, fullgraph=True, backend="aot_eager")
    for a, b in zip(compiled(inputs.lower, inputs.upper), lines(inputs.lower, inputs.upper), strict=True):
        torch.testing.assert_close(a, b)
