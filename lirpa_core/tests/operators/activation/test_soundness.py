"""Intervals and lines of every unary operator, against the operator itself sampled densely."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.relaxation import Affine, Relaxation

#: Units in the last place of the largest `|f| + |kx|` over the box by which a line, or an interval,
#: may be on the wrong side of the operator's own rounded value.
ULP = 8.0

DTYPES = [torch.float64, torch.float32]


def lines(part: Affine, n: int) -> tuple[Tensor, Tensor]:
    slope = part.terms[0].slope.flatten().expand(n)  # type: ignore[union-attr]
    return slope, torch.zeros_like(slope) if part.bias is None else part.bias.flatten().expand(n)


def magnitude(case: Any, x: Tensor, f: Tensor) -> Tensor:
    # GELU is computed as x/2 * (1 + erf), whose rounding error is that of x, not that of the result.
    return f.abs() + x.abs() if "gelu" in case.name else f.abs()


def excess(case: Any, box: Interval, relaxation: Relaxation, n: int = 129) -> Tensor:
    """By how many units in the last place the lines are wrong, one number a box."""
    x = case.samples(box, n)
    f = case.value(x)
    worst = torch.zeros_like(x[0])
    for part, side in ((relaxation.lower, 1), (relaxation.upper, -1)):
        k, b = lines(part, x.shape[1])
        assert k.isfinite().all() and b.isfinite().all()
        scale = (magnitude(case, x, f) + (k * x).abs()).max(0).values * torch.finfo(x.dtype).eps
        wrong = (side * (k * x + b - f)).max(0).values
        worst = worst.maximum(wrong / scale.clamp(min=torch.finfo(x.dtype).tiny))
    return worst


def finite(case: Any, dtype: torch.dtype) -> Any:
    """The case within reach of the format, so that nothing overflows."""
    if dtype == torch.float64:
        return case
    limits = {100.0: 8.0, 300.0: 60.0, 500.0: 60.0}
    return type(case)(**{**case.__dict__, "reach": limits.get(case.reach, case.reach)})


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_default_lines_are_sound(case: Any, dtype: torch.dtype) -> None:
    case = finite(case, dtype)
    box = case.boxes(300, dtype)
    relaxation = case.rule.relax(case.call(dtype), (box,))
    assert excess(case, box, relaxation).max() <= ULP


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_lines_of_any_slope_are_sound(case: Any, dtype: torch.dtype) -> None:
    case = finite(case, dtype)
    box = case.boxes(300, dtype, seed=1)
    g = torch.Generator().manual_seed(2)
    k = torch.randn(300, 1, 1, generator=g, dtype=dtype) * 10 ** torch.randint(
        -2, 3, (300, 1, 1), generator=g
    )
    relaxation = case.rule.relax_with(case.call(dtype), (box,), (k, k))
    assert excess(case, box, relaxation).max() <= ULP


def test_lines_of_any_slope_touch(case: Any) -> None:
    box = case.boxes(100, seed=3)
    width = (box.upper - box.lower).flatten()
    g = torch.Generator().manual_seed(2)
    k = torch.randn(100, 1, 1, generator=g, dtype=torch.float64)
    relaxation = case.rule.relax_with(case.call(), (box,), (k, k))
    x = case.samples(box, 1501)
    f = case.value(x)
    for part, side in ((relaxation.lower, 1), (relaxation.upper, -1)):
        slope, b = lines(part, 100)
        gap = (side * (f - slope * x - b)).min(0).values
        # On either side of a touching point there is a sample: an error of the second order there,
        # of the first next to a jump.
        rise = (f.max(0).values - f.min(0).values) + slope.abs() * width
        jumps = case.op in _JUMPS
        allowed = rise * (1e-2 if jumps else 1e-3) + 1e-12 * (f.abs() + (slope * x).abs()).max(0).values
        near = width < 50
        assert (gap <= allowed)[near].all()


_aten = torch.ops.aten
_JUMPS = {
    _aten.floor.default, _aten.ceil.default, _aten.round.default, _aten.trunc.default,
    _aten.threshold.default, _aten.hardshrink.default, _aten.softplus.default,
}  # fmt: skip


def test_interval_is_the_hull(case: Any) -> None:
    box = case.boxes(150, seed=4)
    interval = case.rule.interval(case.call(), (box,))
    x = case.samples(box, 1001)
    f = case.value(x)
    scale = magnitude(case, x, f).max(0).values * torch.finfo(x.dtype).eps
    lower, upper = interval.lower.flatten(), interval.upper.flatten()
    assert (lower - f.min(0).values <= ULP * scale).all()
    assert (f.max(0).values - upper <= ULP * scale).all()
    near = (box.upper - box.lower).flatten() < 10
    slack = 1e-3 * (upper - lower) + ULP * scale
    at_limit = case.op in {_aten.hardshrink.default, _aten.threshold.default}  # a limit is no sample
    if not at_limit:
        assert (f.min(0).values - lower <= slack)[near].all()
        assert (upper - f.max(0).values <= slack)[near].all()


def test_smaller_boxes_have_smaller_intervals(case: Any) -> None:
    box = case.boxes(300, seed=5)
    a, b = torch.rand(2, 300, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p = (box.lower + a * (box.upper - box.lower)).minimum(box.upper)
    q = (box.lower + b * (box.upper - box.lower)).minimum(box.upper)
    inner = case.rule.interval(case.call(), (Interval(p.minimum(q), p.maximum(q)),))
    outer = case.rule.interval(case.call(), (box,))
    scale = ULP * torch.finfo(torch.float64).eps
    size = magnitude(
        case, box.lower.abs().maximum(box.upper.abs()), outer.lower.abs().maximum(outer.upper.abs())
    )
    assert (outer.lower - inner.lower <= scale * size).all()
    assert (inner.upper - outer.upper <= scale * size).all()


def test_points_are_exact(case: Any) -> None:
    box = case.boxes(300, seed=6)
    point = Interval(box.lower, box.lower)
    interval = case.rule.interval(case.call(), (point,))
    value = case.value(box.lower.flatten()).reshape(box.lower.shape)
    assert torch.equal(interval.lower, interval.upper)
    torch.testing.assert_close(interval.lower, value, rtol=1e-14, atol=1e-300)
    relaxation = case.rule.relax(case.call(), (point,))
    for part in (relaxation.lower, relaxation.upper):
        k, b = lines(part, 300)
        assert k.isfinite().all()
        x, y = box.lower.flatten(), value.flatten()
        assert ((k * x + b - y).abs() <= ULP * torch.finfo(x.dtype).eps * (y.abs() + (k * x).abs())).all()
    assert not case.rule.unstable_inputs(case.call(), (point,))[0].any()


def test_default_slope_loses_least(case: Any) -> None:
    """No slope gives a line that is higher at the midpoint, as far as the samples can tell."""
    box = case.boxes(100, seed=7)
    lower, upper = box.lower.flatten(), box.upper.flatten()
    m, width = lower / 2 + upper / 2, upper - lower
    x = case.samples(box, 501)
    f = case.value(x)
    relaxation = case.rule.relax(case.call(), (box,))
    some = (width > 1e-3) & (width < 10)
    for part, side in ((relaxation.lower, 1), (relaxation.upper, -1)):
        k, b = lines(part, 100)
        rise = f.max(0).values - f.min(0).values
        steepest = (f[1:501] - f[:500]).abs().max(0).values / width.clamp(min=1e-300) * 500
        low, high = -steepest, steepest.clone()
        best = torch.full_like(m, -torch.inf)
        for _ in range(40):  # the height at the midpoint is concave in the slope
            trial = [low + (high - low) / 3, high - (high - low) / 3]
            height = [(side * (f - t * x)).min(0).values + side * t * m for t in trial]
            low = torch.where(height[0] < height[1], trial[0], low)
            high = torch.where(height[0] < height[1], high, trial[1])
            best = best.maximum(height[0]).maximum(height[1])
        noise = 1e-12 * magnitude(case, x, f).max(0).values
        tolerance = 1e-2 if case.op in _JUMPS else 1e-4
        lost = best - side * (k * m + b)
        assert (lost <= tolerance * rise + noise)[some].all(), case.name


def test_gradients_are_finite(case: Any) -> None:
    box = case.boxes(300, seed=8)
    ends = box.lower.clone().requires_grad_(), box.upper.clone().requires_grad_()
    box = Interval(*ends)
    call = case.call()
    g = torch.Generator().manual_seed(0)
    k = torch.randn(300, 1, 1, generator=g, dtype=torch.float64)
    relaxations = case.rule.relax(call, (box,)), case.rule.relax_with(call, (box,), (k, k))
    interval = case.rule.interval(call, (box,))
    outputs = [interval.lower, interval.upper]
    for relaxation in relaxations:
        for part in (relaxation.lower, relaxation.upper):
            outputs += [part.terms[0].slope, *([] if part.bias is None else [part.bias])]
    for output in outputs:
        if output.requires_grad:
            grads = torch.autograd.grad(output.sum(), ends, retain_graph=True, allow_unused=True)
            assert all(grad is None or not grad.isnan().any() for grad in grads)


@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh", "gelu", "exp", "elu", "sin", "sqrt", "pow3"])
def test_gradients_are_right(find: Any, name: str) -> None:
    """The derivative of a line's height at a fixed point, by the ends, against differences."""
    case = find(name)
    call = case.call()
    lower = torch.tensor([0.31, 0.9, 1.7]) if case.domain[0] == 0 else torch.tensor([-1.3, -0.4, 0.2])
    lower = lower.double().reshape(-1, 1, 1)
    upper = (lower + torch.tensor([1.9, 0.7, 2.2]).double().reshape(-1, 1, 1)).requires_grad_()
    at = (lower * 0.3 + upper * 0.7).detach()
    lower.requires_grad_()

    def heights(lo: Tensor, hi: Tensor) -> Tensor:
        relaxation = case.rule.relax(call, (Interval(lo, hi),))
        both = []
        for part in (relaxation.lower, relaxation.upper):
            bias = 0 if part.bias is None else part.bias
            both.append(part.terms[0].slope * at + bias)  # type: ignore[union-attr]
        return torch.stack(both)

    assert torch.autograd.gradcheck(heights, (lower, upper), eps=1e-6, atol=1e-5)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_box_any_slope(find: Any, data: st.DataObject) -> None:
    """Hypothesis draws the operator, the box and the slope."""
    names = ["relu", "hardtanh", "elu", "selu", "softplus", "sigmoid", "tanh", "atan", "gelu", "silu", "mish"]
    case = find(
        data.draw(st.sampled_from([*names, "hardswish", "sin", "cos", "pow3", "floor", "round", "sign"]))
    )
    reach = min(case.reach, 1e3)
    number = st.floats(-reach, reach) | st.sampled_from(case.special)
    width = st.floats(0, 10) | st.sampled_from([0.0, 5e-324, 1e-300, 1e-12, 1e-6, 2e3])
    low, span = data.draw(number), data.draw(width)
    lower = torch.full((1, 1, 1), low, dtype=torch.float64)
    upper = (lower + span).clamp(max=reach).maximum(lower)
    box = Interval(lower, upper)
    call = case.call()
    assert excess(case, box, case.rule.relax(call, (box,)))[0] <= ULP
    k = torch.full((1, 1, 1), data.draw(st.floats(-1e3, 1e3)), dtype=torch.float64)
    assert excess(case, box, case.rule.relax_with(call, (box,), (k, k)))[0] <= ULP
