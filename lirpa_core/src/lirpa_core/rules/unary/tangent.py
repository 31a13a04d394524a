"""Where a line touches an arc: the point with a given slope, or the tangent through a given point.

Nothing here carries gradients, and nothing here has to be accurate for a bound to be sound: the
intercept of a line is computed from its slope afterwards.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lirpa_core.rules.unary.curve import Curve, Point, Span

#: Steps of the searches. They converge quadratically, from an anchor at once, else after a few
#: halvings of the bracket; slowly only where the point sought is an inflection. On boxes up to 2000
#: wide what is left after the anchored search is below 1e-8 of a bound, and mostly rounding.
TANGENT_STEPS = 5
ANCHORED_STEPS = 9
BRACKETED_STEPS = 16


def chord(p: Point, q: Point) -> tuple[Tensor, Tensor]:
    """Slope of the line from `p` to `q`, and whether there is one.

    There is none (the slope means nothing then) where `q` is not to the right of `p`, or so near
    that the quotient or its derivatives overflow.
    """
    run, rise = q[0] - p[0], q[1] - p[1]
    limits = torch.finfo(run.dtype)
    distance = run.detach().clamp(min=4 * limits.tiny)
    valid = (run >= distance) & (rise.detach().abs() / distance <= distance * (limits.max / 4))
    return rise / torch.where(valid, run, 1), valid


def point_of_slope(span: Span, k: Tensor, side: int, steps: int | None = None) -> Tensor:
    """The point of the span at which `f' = k`, or the end that is nearest to having that slope.

    Args:
        span: Part of an arc.
        k: The slope.
        side: Which line it is for.
        steps: Steps of the search, where there is no closed form; None for as many as all digits take.
    """
    k = k.detach()
    start, end = span.start.detach(), span.end.detach()
    if span.touch is None:
        return _search(span, start, end, lambda _: k, side, steps)
    return _into(span.touch(k), start, end)


def tangent_point(curve: Curve, span: Span, p: Point, left: bool, side: int) -> Tensor:
    """The point of the span that a line through `p` touches; `p` is to the left (right) of the span.

    With a closed form for the point of a given slope this is Newton's method for the slope, which
    converges from anywhere, because the intercept of the supporting line is concave in the slope.
    """
    start, end = span.start.detach(), span.end.detach()
    p = (p[0].detach(), p[1].detach())

    def slope_through(x: Tensor) -> Tensor:
        q = (x, curve.f(x))
        slope, valid = chord(p, q) if left else chord(q, p)
        return torch.where(valid, slope, curve.slope(x))

    if span.touch is None:
        return _search(span, start, end, slope_through, side)
    x = end if left else start
    for _ in range(TANGENT_STEPS):
        x = _into(span.touch(slope_through(x)), start, end)
    return x


def _into(x: Tensor, start: Tensor, end: Tensor) -> Tensor:
    return torch.where(x.isnan(), start, x.maximum(start).minimum(end))


def _search(
    span: Span,
    start: Tensor,
    end: Tensor,
    slope_at: Callable[[Tensor], Tensor],
    side: int,
    steps: int | None = None,
) -> Tensor:
    """Solve `f'(x) = slope_at(x)` on the span by Newton's method inside a shrinking bracket."""

    def residual(x: Tensor) -> tuple[Tensor, Tensor]:
        """Difference of slopes, and the Newton step that should remove it."""
        first, second = span.jet(x)
        k = slope_at(x)
        excess = first - k
        if span.limit is not None:
            rest = first - span.limit
            ratio = rest / (k - span.limit)
            return excess, torch.where(ratio > 0, rest * ratio.log(), excess) / second
        return excess, excess / second

    at_start, at_end = side * residual(start)[0] >= 0, side * residual(end)[0] <= 0
    low, high = start, end
    x = start / 2 + end / 2 if span.anchor is None else start.clamp(min=span.anchor).minimum(end)
    enough = BRACKETED_STEPS if span.anchor is None else ANCHORED_STEPS
    for _ in range(enough if steps is None else min(steps, enough)):
        excess, step = residual(x)
        low, high = torch.where(side * excess <= 0, x, low), torch.where(side * excess >= 0, x, high)
        newton = x - step
        x = torch.where((newton >= low) & (newton <= high), newton, low / 2 + high / 2)
    return torch.where(at_start, start, torch.where(at_end, end, x))
