"""The gradient of bounds by the ends of the box is the central difference of what is returned."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lirpa_core.linear import Interval
from lirpa_testing.rules.attack import gradients_of
from lirpa_testing.rules.case import Case
from lirpa_testing.rules.consistency import smooth_at_the_ends

#: Widths and ends on which differences are taken; others have too few digits for it.
_NARROWEST, _FARTHEST = 1e-3, 1e3
_STEP = 1e-6
#: A step that is short beside those of an operator that has steps, such as a conversion to float32.
_SHORT = 1e-9
#: How far one-sided differences may disagree, by the step's length and otherwise, where a function is called smooth.
_BENT, _WRONG = 1e-4, 1e-5


def check_differences(case: Case) -> None:
    """Gradients by the box are central differences, along one direction an example, in float64.

    Outputs whose differences to the left and to the right disagree have a kink nearby and are left out; so are boxes that
    are very narrow or far out. Both ends of an element that is a single point move together.
    """
    if any(case.is_whole(i) for i in range(len(case.inputs))):
        return
    generator = case.generator(40)
    case = case.with_inputs([_apart(x, generator) for x in case.inputs])
    fit = [
        (((x.width == 0) | (x.width >= _NARROWEST)) & (x.lower >= -_FARTHEST) & (x.upper <= _FARTHEST))
        .reshape(case.batch, -1)
        .all(1)
        for x in case.inputs
    ]
    outside = case.rule.domain_violation(case.call, case.inputs)
    if outside is not None:
        fit.append(~outside.expand(case.batch, *outside.shape[1:]).reshape(case.batch, -1).any(1))
    usable = torch.stack(fit).all(0) & smooth_at_the_ends(case)
    if case.inputs[0].lower.dtype != torch.float64 or not bool(usable.any()):
        return
    case = case.only(usable)
    if _is_stepped(case):
        return
    directions = []
    for x in case.inputs:
        low, up = (torch.randn(x.lower.shape, dtype=x.lower.dtype, generator=generator) for _ in range(2))
        directions.append((low, torch.where(x.width == 0, low, up)))
    leaves = [
        Interval(x.lower.detach().clone().requires_grad_(), x.upper.detach().clone().requires_grad_())
        for x in case.inputs
    ]
    ends = [end for x in leaves for end in (x.lower, x.upper)]
    with torch.enable_grad():
        attached = _bounds(case, leaves)
    here, right, left = (_moved(case, directions, h) for h in (0.0, _STEP, -_STEP))
    steps = [step for pair in directions for step in pair]
    for name, goal in attached.items():
        after, before = (right[name] - here[name]) / _STEP, (here[name] - left[name]) / _STEP
        noise = (16 * case.allowed / _STEP).reshape(
            case.batch, *[1] * (goal.dim() - case.scale.dim()), *case.call.shape
        )
        smooth = (after - before).abs() <= _BENT * (after.abs() + before.abs()) + noise
        case.counts["differences"] += int(smooth.sum())
        weights = torch.where(smooth, torch.rand(goal.shape, dtype=goal.dtype, generator=generator), 0)
        found = size = goal.new_zeros(case.batch)
        if goal.requires_grad:
            total = (goal * weights).sum()
            gradients = torch.autograd.grad(total, ends, allow_unused=True, retain_graph=True)
            for gradient, step in zip(gradients, steps, strict=True):
                if gradient is not None:
                    found = found + _by_example(gradient * step)
                    size = size + _by_example((gradient * step).abs())
        middle = torch.where(smooth, (after + before) / 2, 0)
        expected = _by_example(weights * middle)
        allowed = torch.where(smooth, noise + _WRONG * middle.abs() + (after - before).abs(), 0)
        wrong = (found - expected).abs() - _by_example(weights * allowed) - _WRONG * size
        if bool((wrong > 0).any()):
            example = int(wrong.argmax())
            case.fail(
                "differences",
                f"the gradient of the {name} is not its central difference",
                mode="interval" if "interval" in name else "relax",
                amount=wrong.max().item(),
                example=example,
                details={"by the gradient": found[example].item(), "difference": expected[example].item()},
            )


def _apart(x: Interval, generator: torch.Generator) -> Interval:
    """A box inside, or next to a point, whose ends are like no other's: where two are equal, choices have a kink."""
    t, s = (0.1 * torch.rand(x.lower.shape, dtype=x.lower.dtype, generator=generator) for _ in range(2))
    moved = x.lower + t * (x.upper - x.lower), x.upper - s * (x.upper - x.lower)
    point = x.lower + t * (1 + x.lower.abs())
    fixed = x.lower == x.upper
    return Interval(torch.where(fixed, point, moved[0]), torch.where(fixed, point, moved[1]))


def _is_stepped(case: Case) -> bool:
    """Whether PyTorch differentiates the operator as something smoother than it is, as it does a conversion of types."""
    ends = [x.lower.detach().clone().requires_grad_() for x in case.inputs]
    with torch.enable_grad():
        here = case.evaluate(tuple(e.unsqueeze(0) for e in ends))
        gradients = gradients_of(here.sum(), ends) if here.requires_grad else ()
    slopes = [g.sum() for g in gradients if g is not None]
    with torch.no_grad():
        there = case.evaluate(tuple((e + _SHORT).unsqueeze(0) for e in ends))
    found, stated = float((there - here.detach()).sum()) / _SHORT, float(sum(slopes))
    return not abs(found - stated) <= 1e-3 * (
        1 + sum([float(g.abs().sum()) for g in gradients if g is not None])
    )


def _by_example(x: Tensor) -> Tensor:
    return x.reshape(x.shape[0], -1).sum(1)


def _moved(case: Case, directions: Sequence[tuple[Tensor, Tensor]], step: float) -> dict[str, Tensor]:
    inputs = [
        Interval(x.lower + step * low, x.upper + step * up)
        for x, (low, up) in zip(case.inputs, directions, strict=True)
    ]
    with torch.no_grad():
        return _bounds(case, inputs)


def _bounds(case: Case, inputs: Sequence[Interval]) -> dict[str, Tensor]:
    """Bounds on boxes, by name, `[B, ..]`; affine functions are evaluated at points that move with their boxes."""
    fresh = case.with_inputs(inputs)
    shape = (case.batch, *case.call.shape)
    found: dict[str, Tensor] = {}
    if case.has_interval:
        found["lower end of the interval"] = fresh.interval.lower.expand(shape)
        found["upper end of the interval"] = fresh.interval.upper.expand(shape)
    if case.has_lines:
        generator = case.generator(41)
        places = [
            torch.rand(4, *x.lower.shape, dtype=x.lower.dtype, generator=generator) for x in case.inputs
        ]
        points = [x.lower + t * (x.upper - x.lower) for x, t in zip(inputs, places, strict=True)]
        lower, upper = fresh.lines(tuple(points))
        found["lower affine function"] = lower.movedim(0, 1)
        found["upper affine function"] = upper.movedim(0, 1)
    return found
