"""Checks of one box: bounds hold at every point looked at, and are exact where they must be."""

from __future__ import annotations

import torch
from torch import Tensor

from lirpa_core.linear import Affine, Interval, Relaxation
from lirpa_core.linear.coefficients import flatten
from lirpa_testing.rules.attack import clamp
from lirpa_testing.rules.case import Case, evaluate_affine


def check_results(case: Case) -> None:
    """Bounds have the right types, shapes, dtypes and devices."""
    like = case.start_outputs
    if case.has_interval:
        if not isinstance(case.interval, Interval):
            case.fail(
                "results",
                f"interval returned {type(case.interval).__name__}, not an Interval",
                mode="interval",
            )
        for side, value in (("lower", case.interval.lower), ("upper", case.interval.upper)):
            _require_like(case, value, like, f"the {side} end of the interval", "interval")
    if not case.has_lines:
        return
    relaxation = case.relaxation
    if not isinstance(relaxation, Relaxation):
        case.fail("results", f"relax returned {type(relaxation).__name__}, not a Relaxation", mode="relax")
    for side, affine in (("lower", relaxation.lower), ("upper", relaxation.upper)):
        _check_affine_results(case, side, affine, like)


def _check_affine_results(case: Case, side: str, affine: Affine, like: Tensor) -> None:
    if len(affine.terms) != len(case.inputs):
        case.fail(
            "results",
            f"the {side} function has {len(affine.terms)} terms for {len(case.inputs)} operands",
            mode="relax",
        )
    if affine.bias is not None:
        _require_like(case, affine.bias, like, f"the bias of the {side} function", "relax")
    for i, (term, x) in enumerate(zip(affine.terms, case.inputs, strict=True)):
        if term is None:
            continue
        if tuple(term.in_shape) != case.call.shapes[i]:
            case.fail(
                "results",
                f"in_shape of term {i} is {tuple(term.in_shape)}, not {case.call.shapes[i]}",
                mode="relax",
            )
        _require_like(
            case, term.apply(x.lower, 1), like, f"term {i} of the {side} function, applied", "relax"
        )


def _require_like(case: Case, value: Tensor, like: Tensor, what: str, mode: str) -> None:
    shape = case.call.shape
    if tuple(value.shape[1:]) != shape or value.shape[:1] not in {(1,), (case.batch,)}:
        case.fail("results", f"{what} has shape {list(value.shape)}, not {[case.batch, *shape]}", mode=mode)
    if value.dtype != like.dtype:
        case.fail("results", f"{what} has dtype {value.dtype}, not {like.dtype}", mode=mode)
    if value.device != like.device:
        case.fail("results", f"{what} is on {value.device}, not on {like.device}", mode=mode)


def check_finite(case: Case) -> None:
    """No NaN, and nothing infinite where the operator itself is finite."""
    if case.has_interval:
        for side, value in (("lower", case.interval.lower), ("upper", case.interval.upper)):
            _require_finite(case, value, f"the {side} end of the interval", "interval")
    if case.has_lines:
        for side, affine in (("lower", case.relaxation.lower), ("upper", case.relaxation.upper)):
            if affine.bias is not None:
                _require_finite(case, affine.bias, f"the bias of the {side} function", "relax")
            value = evaluate_affine(affine, case.start_points, lead=2)
            value = value.expand(case.start_outputs.shape)
            bad = ~flatten(value.isfinite(), 2).all(-1)
            if bool(bad.any()):
                n, b = (int(i) for i in bad.nonzero()[0])
                kind = "NaN" if bool(value[n, b].isnan().any()) else "infinite"
                case.fail(
                    "finite",
                    f"the {side} function is {kind}",
                    mode="relax",
                    example=b,
                    point=(case.start_points, n),
                )


def _require_finite(case: Case, value: Tensor, what: str, mode: str) -> None:
    bad = ~value.isfinite()
    if bool(bad.any()):
        index = [int(i) for i in bad.nonzero()[0]]
        kind = "NaN" if bool(value[tuple(index)].isnan()) else "infinite"
        example = index[0] if value.shape[0] == case.batch else None
        case.fail(
            "finite", f"{what} is {kind}", mode=mode, example=example, details={"output element": index[1:]}
        )


def check_interval(case: Case) -> None:
    """Every value of the operator lies in the interval, whose ends are ordered."""
    if not case.has_interval:
        return
    lower, upper = case.interval.lower, case.interval.upper
    case.fail_where(
        (lower - upper - case.allowed).expand(case.scale.shape),
        "interval",
        "the lower end of the interval exceeds the upper end",
        mode="interval",
        values={"lower": lower, "upper": upper},
    )
    y = case.outputs
    for excess, what, bound in (
        (lower - y, "a value lies below the interval", lower),
        (y - upper, "a value lies above the interval", upper),
    ):
        case.fail_where(
            excess - case.allowed,
            "interval",
            what,
            mode="interval",
            points=case.points,
            values={"value": y, "bound": bound},
        )


def check_lines(case: Case) -> None:
    """Every value of the operator lies between the affine functions, which do not cross."""
    if not case.has_lines:
        return
    y = case.outputs
    lower, upper = case.lines(case.points)
    if bool((lower - y > case.allowed).any()) and bool((y - upper > case.allowed).any()):
        case.fail_where(
            lower - upper - 2 * case.allowed,
            "lines",
            "the affine functions cross: the lower one exceeds the upper one",
            mode="relax",
            points=case.points,
            values={"lower": lower, "upper": upper},
        )
    for excess, what, bound in (
        (lower - y, "a value lies below the lower affine function", lower),
        (y - upper, "a value lies above the upper affine function", upper),
    ):
        case.fail_where(
            excess - case.allowed,
            "lines",
            what,
            mode="relax",
            points=case.points,
            values={"value": y, "bound": bound},
        )


def check_affine(case: Case) -> None:
    """A rule that says it is affine loses nothing."""
    if not case.rule.is_affine(case.call):
        return
    if case.has_lines:
        if not case.relaxation.exact:
            case.fail("affine", "is_affine is true, but relax returned two different functions", mode="relax")
        y, line = case.outputs, case.lines(case.points)[0]
        excess = (line - y).abs() - case.allowed
        what = "is_affine is true, but the affine function differs from the operator"
        case.fail_where(
            excess, "affine", what, mode="relax", points=case.points, values={"value": y, "function": line}
        )
    if case.has_interval and case.corners_complete:
        low, high = case.outputs.amin(0), case.outputs.amax(0)
        case.fail_where(
            low - case.interval.lower - case.allowed,
            "affine",
            "is_affine is true, but the interval is wider than the values, below",
            mode="interval",
            values={"smallest value": low, "lower": case.interval.lower},
        )
        case.fail_where(
            case.interval.upper - high - case.allowed,
            "affine",
            "is_affine is true, but the interval is wider than the values, above",
            mode="interval",
            values={"largest value": high, "upper": case.interval.upper},
        )


def check_degenerate(case: Case) -> None:
    """On a box that is a single point, bounds are that value."""
    generator = case.generator(3)
    points = []
    for slot, box in enumerate(case.inputs):
        t = torch.rand(box.lower.shape, dtype=box.lower.dtype, generator=generator)
        pick = torch.randint(3, box.lower.shape, generator=generator)
        inner = case.snap_point(slot, clamp(box.lower * (1 - t) + box.upper * t, box))
        points.append(torch.where(pick == 0, box.lower, torch.where(pick == 1, box.upper, inner)))
    point = case.with_inputs([Interval(x, x) for x in points])
    if not bool(point.start_outputs.isfinite().all()):
        return
    check_finite(point)
    at = tuple(x.unsqueeze(0) for x in points)
    y = point.evaluate(at)[0]
    bounds: dict[str, Tensor] = {}
    if point.has_interval:
        bounds |= {
            "lower end of the interval": point.interval.lower,
            "upper end of the interval": point.interval.upper,
        }
    if point.has_lines:
        lower, upper = point.lines(at)
        bounds |= {"lower affine function": lower[0], "upper affine function": upper[0]}
    for name, bound in bounds.items():
        point.fail_where(
            (bound - y).abs() - point.allowed,
            "degenerate",
            f"on a box that is a single point, the {name} is not the value",
            mode="interval" if "interval" in name else "relax",
            values={"value": y, "bound": bound},
        )


def check_shrinking(case: Case) -> None:
    """A smaller box never gives a looser interval."""
    if not case.has_interval:
        return
    inner = case.with_inputs(
        [case.snap(i, inside(x, case.generator(4 + i))) for i, x in enumerate(case.inputs)]
    )
    for excess, what, of_box, of_part in (
        (case.interval.lower - inner.interval.lower, "below", case.interval.lower, inner.interval.lower),
        (inner.interval.upper - case.interval.upper, "above", case.interval.upper, inner.interval.upper),
    ):
        inner.fail_where(
            (excess - case.allowed).expand(case.scale.shape),
            "shrinking",
            f"a smaller box gives a looser interval, {what}",
            mode="interval",
            values={"bound of the larger box": of_box, "bound of the box shown": of_part},
        )


def inside(box: Interval, generator: torch.Generator) -> Interval:
    """A random part of a box."""
    t, s = torch.rand(2, *box.lower.shape, dtype=box.lower.dtype, generator=generator) / 2
    cut = torch.rand(box.lower.shape, generator=generator) < 0.7
    a, b = box.lower * (1 - t) + box.upper * t, box.upper * (1 - s) + box.lower * s
    lower = torch.where(cut, clamp(a.minimum(b), box), box.lower)
    upper = torch.where(cut, clamp(a.maximum(b), box), box.upper)
    return Interval(lower, upper)
