"""Derivatives of activations, and the operators that PyTorch differentiates backward with."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.capture.derivatives.activations import DifferentiableActivations, differentiable
from lirpa_core.operators.derivatives import ACTIVATIONS, derivative
from lirpa_core.plugins import default_registry
from lirpa_core.rules import Call, Interval, Operand
from lirpa_testing.core_cases.activation import UnaryCase
from lirpa_testing.core_cases.derivatives import CASES
from lirpa_testing.proof import prove_unary

PARAMETERS: dict[str, tuple[float, ...]] = {
    "softplus": (1.5, 12.0), "elu": (0.7, 1.2, 1.3), "leaky_relu": (0.2,), "hardtanh": (-0.625, 0.875), "softshrink": (0.375,),
}  # fmt: skip


def places() -> Tensor:
    return torch.linspace(-6, 6, 97, dtype=torch.float64) + 0.0123  # away from kinks


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_each_derivative_is_that_of_the_one_before(name: str) -> None:
    given, x, step = PARAMETERS.get(name, ()), places(), 1e-5
    entry = ACTIVATIONS[name]

    def value(order: int, at: Tensor) -> Tensor:
        return entry.function(at, *given) if order == 0 else derivative(at, name, order, given)

    for order in range(1, min(entry.highest, 4) + 1):
        difference = (value(order - 1, x + step) - value(order - 1, x - step)) / (2 * step)
        torch.testing.assert_close(value(order, x), difference, rtol=1e-5, atol=2e-8)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_autograd_gives_what_it_gives_of_the_activation(name: str) -> None:
    given, x = PARAMETERS.get(name, ()), places()
    function = ACTIVATIONS[name].function
    ours, theirs = differentiable, torch.func.vmap(torch.func.grad(lambda z: function(z, *given)))
    found = torch.func.vmap(torch.func.grad(lambda z: ours(z, name, 0, given)))(x)
    torch.testing.assert_close(found, theirs(x), rtol=1e-9, atol=1e-12)
    forward = torch.func.jvp(lambda z: ours(z, name, 0, given), (x,), (torch.ones_like(x),))[1]
    torch.testing.assert_close(forward, found)
    leaf = x.clone().requires_grad_()
    (first,) = torch.autograd.grad(ours(leaf, name, 0, given).sum(), leaf, create_graph=True)
    torch.testing.assert_close(first.detach(), found)
    if first.requires_grad:
        (second,) = torch.autograd.grad(first.sum(), leaf)
        torch.testing.assert_close(second, derivative(x, name, 2, given), rtol=1e-9, atol=1e-12)


def test_at_kinks_autograds_values_are_kept() -> None:
    for name in ("relu", "leaky_relu", "hardtanh", "hardswish", "softshrink", "elu", "abs"):
        given = PARAMETERS.get(name, ())
        x = torch.tensor([0.0, -3.0, 3.0, *given], dtype=torch.float64, requires_grad=True)
        (theirs,) = torch.autograd.grad(ACTIVATIONS[name].function(x, *given).sum(), x)
        torch.testing.assert_close(derivative(x.detach(), name, 1, given), theirs)


def test_activations_are_exchanged_whatever_they_are_called_by() -> None:
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)
    calls = [
        torch.nn.functional.elu, torch.nn.functional.celu, torch.selu, torch.nn.functional.relu6, torch.nn.GELU("tanh"),
        torch.nn.Softplus(2, 1), torch.nn.Hardtanh(-0.5, 0.7), torch.nn.LeakyReLU(0.3, inplace=True), torch.nn.Tanhshrink(),
        torch.nn.Softshrink(0.3), torch.nn.LogSigmoid(), torch.abs, abs, torch.Tensor.sigmoid, torch.nn.Hardswish(),
    ]  # fmt: skip
    for call in calls:
        expected = call(x.clone())
        with DifferentiableActivations():
            found = call(x.clone())
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_decompositions_are_the_operators() -> None:
    aten = torch.ops.aten
    table = default_registry().decomposition_table()
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 6, 7, dtype=torch.float64, generator=g)

    def like(y: Tensor) -> Tensor:
        return torch.randn(y.shape, dtype=y.dtype, generator=g)

    grad = like(x)
    elementwise = [
        (aten.tanh_backward.default, (x.tanh(),)), (aten.sigmoid_backward.default, (x.sigmoid(),)),
        (aten.silu_backward.default, (x,)), (aten.mish_backward.default, (x,)), (aten.softplus_backward.default, (x, 1.3, 2.0)),
        (aten.softplus_backward.default, (x, 1.3, -0.5)), (aten.log_sigmoid_backward.default, (x, aten.log_sigmoid_forward.default(x)[1])),
        (aten.elu_backward.default, (0.7, 1.1, 1.2, False, x)), (aten.elu_backward.default, (0.7, 1.1, 1.2, True, x)),
        (aten.threshold_backward.default, (x, 0.3)), (aten.leaky_relu_backward.default, (x, 0.2, False)),
        (aten.hardtanh_backward.default, (x, -0.4, 0.6)), (aten.hardswish_backward.default, (x,)),
        (aten.hardsigmoid_backward.default, (x * 3,)), (aten.softshrink_backward.default, (x, 0.3)),
        (aten._softmax_backward_data.default, (x.softmax(1), 1, x.dtype)),
        (aten._log_softmax_backward_data.default, (x.log_softmax(-1), -1, x.dtype)),
    ]  # fmt: skip
    for op, others in elementwise:
        torch.testing.assert_close(table[op](grad, *others), op(grad, *others), rtol=1e-9, atol=1e-12)
    for options in (((2, 3), (2, 2), (1, 1), False, True, None), ((3, 3), (2, 2), (1, 1), True, False, None), ((2, 2), (3, 1), (0, 0), True, True, 5)):  # fmt: skip
        y = like(aten.avg_pool2d.default(x, *options))
        op = aten.avg_pool2d_backward.default
        torch.testing.assert_close(table[op](y, x, *options), op(y, x, *options))
    tied = x.round()
    for options in (((2, 3), (2, 2), (1, 1), (1, 1), False), ((3, 3), (2, 1), (0, 0), (1, 2), True), ((2, 2), (2, 2), (0, 0), (1, 1), True)):  # fmt: skip
        y, indices = aten.max_pool2d_with_indices.default(tied, *options)
        op, y = aten.max_pool2d_with_indices_backward.default, like(y)
        torch.testing.assert_close(table[op](y, tied, *options, indices), op(y, tied, *options, indices))
    for stride, padding, dilation, transposed, groups in ((2, 1, 1, False, 1), (1, 0, 2, False, 3), (2, 1, 1, True, 1), (3, 0, 1, False, 1)):  # fmt: skip
        weight = torch.randn(3, 3 // groups, 3, 2, dtype=x.dtype, generator=g)
        given = ([stride] * 2, [padding] * 2, [dilation] * 2, transposed, [0, 0], groups)
        y = like(aten.convolution.default(x, weight, None, *given))
        op, mask = aten.convolution_backward.default, [True, False, False]
        expected = op(y, x, weight, None, *given, mask)[0]
        torch.testing.assert_close(table[op](y, x, weight, None, *given, mask)[0], expected)
    weight, bias = torch.rand(6, 7, dtype=x.dtype), torch.rand(6, 7, dtype=x.dtype)
    _, mean, rstd = aten.native_layer_norm.default(x, [6, 7], weight, bias, 1e-5)
    op, given = (
        aten.native_layer_norm_backward.default,
        (x, [6, 7], mean, rstd, weight, bias, [True, False, False]),
    )
    torch.testing.assert_close(table[op](grad, *given)[0], op(grad, *given)[0])
    weight = torch.rand(3, dtype=x.dtype)
    _, mean, rstd = aten.native_group_norm.default(x, weight, None, 2, 3, 42, 3, 1e-5)
    op, given = (
        aten.native_group_norm_backward.default,
        (x, mean, rstd, weight, 2, 3, 42, 3, [True, False, False]),
    )
    torch.testing.assert_close(table[op](grad, *given)[0], op(grad, *given)[0])


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_lines_and_intervals_are_proved(case: UnaryCase) -> None:
    rule = default_registry().rule_for(torch.ops.lirpa.derivative.default)
    assert rule is not None
    lower = torch.tensor([[[-5.0, -1.3, 0.0, -1.0, 0.5, -25.0]]], dtype=torch.float64)
    upper = torch.tensor([[[4.0, 0.2, 1.0, 0.0, 3.2, 30.0]]], dtype=torch.float64)
    found = prove_unary(rule, case.call(shape=(1, 6)), Interval(lower, upper))
    assert found.verdict != "refuted", str(found)


def test_a_box_that_touches_a_kink_knows_both_sides() -> None:
    op = torch.ops.lirpa.derivative.default
    call = Call.of(op, Operand((1, 3)), "relu", 1, [])
    rule = default_registry().rule_for(op)
    assert rule is not None
    lower = torch.tensor([[[-1.0, 0.0, -1e-300]]], dtype=torch.float64)
    upper = torch.tensor([[[0.0, 1.0, 0.0]]], dtype=torch.float64)
    box = Interval(lower, upper)
    found = rule.interval(call, (box,))
    assert bool((found.lower == 0).all())
    assert bool((found.upper == 1).all())
    lines = rule.relax(call, (box,))
    for x in (lower, upper):
        for side, sign in ((lines.lower, 1), (lines.upper, -1)):
            (diagonal,) = side.terms
            value = diagonal.slope * x + (side.bias if side.bias is not None else 0)
            for slope in (0.0, 1.0):
                assert bool((sign * (slope - value) >= -1e-12)[(x == 0)].all())


def test_the_tail_of_softplus_is_searched_as_that_of_the_sigmoid() -> None:
    """Where a curve is cut off to the right, tangents to the left are those of the whole curve, and so are their gradients."""

    def gradient(name: str, order: int, parameters: list[float]) -> Tensor:
        ends = torch.tensor([[-26.0], [-0.85]], dtype=torch.float64, requires_grad=True)
        op = torch.ops.lirpa.derivative.default
        rule = default_registry().rule_for(op)
        assert rule is not None
        box = Interval(ends[:1], ends[1:])
        line = rule.relax(Call.of(op, Operand((1,)), name, order, parameters), (box,)).lower
        (diagonal,) = line.terms
        assert line.bias is not None
        return torch.autograd.grad(diagonal.slope.sum() - 8 * line.bias.sum(), ends)[0]

    torch.testing.assert_close(
        gradient("softplus", 2, [1.0, 20.0]), gradient("sigmoid", 1, []), rtol=1e-9, atol=0
    )


def test_a_captured_derivative_of_the_highest_order_is_differentiated_further() -> None:
    """What a graph holds for parameters is a list."""
    x = torch.tensor([0.5, 2.0], dtype=torch.float64)
    found = differentiable(x, "softsign", 2, [])  # type: ignore[arg-type]
    torch.testing.assert_close(found, -2 * (1 + x) ** -3)


# ---------------------------------------------------------------------- rounding far out


@pytest.mark.parametrize("end", [1e30, -1e30])
def test_far_out_bounds_are_those_of_the_limits(end: float) -> None:
    def model(x: Tensor) -> Tensor:
        slope = torch.func.grad(lambda z: F.softplus(z).sum())(x)
        return torch.cat([F.gelu(x) / 1e30, slope], 1)

    x = torch.tensor([[end]])
    ball = BoundedTensor(x, PerturbationLpNorm(eps=abs(end) / 2))
    bounded = BoundedModule(model, x)
    for method in ("IBP", "CROWN"):
        lower, upper = bounded.compute_bounds(x=(ball,), method=method)
        least, most = ([0.5, 1.0], [1.5, 1.0]) if end > 0 else ([0.0, 0.0], [0.0, 0.0])
        torch.testing.assert_close(lower[0], torch.tensor(least), rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(upper[0], torch.tensor(most), rtol=1e-4, atol=1e-3)
