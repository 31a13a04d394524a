"""Lines below and above a curve: the intercept of any slope, and the slope that loses least."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from lirpa_core.rules.unary.curve import LOWER, UPPER, Curve, Point, Span
from lirpa_core.rules.unary.tangent import chord, point_of_slope, tangent_point


def line_bounds(curve: Curve, lo: Tensor, hi: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """`(b_lo, b_up)` such that `kx + b_lo <= f(x) <= kx + b_up` on the box, for any slope `k`."""
    return intercept(curve, lo, hi, k, LOWER), intercept(curve, lo, hi, k, UPPER)


def default_slopes(curve: Curve, lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
    """`(k_lo, k_up)`: the lines that lose the least area on the box."""
    return supporting_slope(curve, lo, hi, LOWER), supporting_slope(curve, lo, hi, UPPER)


def slope_range(curve: Curve, lo: Tensor, hi: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """The least and the greatest slope of the envelope: lines of other slopes are beaten everywhere.

    Both are the chord's where the envelope is the chord, as below a concave curve.
    """
    step = 4 * torch.finfo(lo.dtype).eps ** 0.5  # farther from the ends than `_best_pair` looks to the right
    left, right = (supporting_slope(curve, lo, hi, side, at) for at in (step, 1 - step))
    return left.minimum(right), left.maximum(right)


def intercept(curve: Curve, lo: Tensor, hi: Tensor, k: Tensor, side: int) -> Tensor:
    """The least (`LOWER`) or greatest (`UPPER`) value of `f(x) - kx` over the box.

    The candidates are the end points, the corners, and the touching point of every arc that bends
    the right way. The derivative by `k` is minus the touching point.
    """
    best = _extreme(curve.f(lo) - k * lo, curve.f(hi) - k * hi, side)
    if curve.shape != -side or curve.jumps:
        for x, y in curve.vertices(lo, hi):
            # At a tie the corner gives the gradient: slopes of the envelope turn about it, not about an end.
            here = y - k * x
            best = torch.where(side * here <= side * best, here, best)
    dips = curve.dips(lo, hi, k, side)
    if dips is not None:
        for x, y in dips:
            best = _extreme(best, y - k * x, side)
        return best
    for span in curve.spans(lo, hi, side):
        best = _extreme(best, _arc_intercept(curve, span, k, side), side)
    return best


def _arc_intercept(curve: Curve, span: Span, k: Tensor, side: int) -> Tensor:
    """The extreme value of `f(x) - kx` on one arc, never beyond it, however bad the point found.

    At the point found, `f` lies on one side of its tangent; so the extreme value differs from the
    value there by at most the difference of slopes times the distance to an end of the arc. That
    term is zero at the exact point and of the order of a rounding error otherwise.
    """
    x = point_of_slope(span, k, side)
    # At an end, the point moves with the end; elsewhere it is stationary and needs no gradient.
    x = torch.where(x <= span.start, span.start, torch.where(x >= span.end, span.end, x))
    at, start, end = x.detach(), span.start.detach(), span.end.detach()
    excess = side * (curve.slope(at) - k.detach())
    limit = torch.finfo(at.dtype).max  # infinite slopes occur at the ends, times a distance of zero
    margin = excess.clamp(0, limit) * (at - start) + (-excess).clamp(0, limit) * (end - at)
    return curve.f(x) - k * x - side * margin


def supporting_slope(curve: Curve, lo: Tensor, hi: Tensor, side: int, at: float = 0.5) -> Tensor:
    """Slope of the line that supports the convex (concave) envelope at the midpoint, or elsewhere.

    Of all lines below the curve that is the one with the largest value there; at the midpoint, the one
    with the least area between. It touches the curve there, or at two points either side: end
    points, corners, or the tangent from an end point to an arc. Every such pair lies on the graph,
    so its line passes the midpoint on or above the envelope, and the lowest of them is the best.

    Args:
        curve: The curve.
        lo: Lower ends of the box.
        hi: Upper ends.
        side: `LOWER` or `UPPER`.
        at: Where in the box, from 0 to 1.
    """
    m = lo / 2 + hi / 2 if at == 0.5 else (1 - at) * lo + at * hi
    tangent = curve.finite_slope(m)
    if curve.shape == side:
        return tangent
    ends = (lo, curve.f(lo)), (hi, curve.f(hi))
    if curve.shape == -side:
        slope, valid = chord(*ends)
        slope = torch.where(valid, slope, tangent)
    else:
        slope = _best_pair(curve, ends, m, tangent, side)
    return torch.where(curve.bent(lo, hi) & slope.detach().isfinite(), slope, tangent)


def _best_pair(curve: Curve, ends: tuple[Point, Point], m: Tensor, tangent: Tensor, side: int) -> Tensor:
    (lo, _), (hi, _) = ends
    # A trifle to the right, lest a corner at the very midpoint make a tie of all that ends there.
    middle = (m + (hi / 2 - lo / 2) * torch.finfo(m.dtype).eps ** 0.5).detach()
    vertices = curve.vertices(lo, hi)
    points = (ends[0], *vertices, ends[1])
    if curve.polygonal:
        # The edge at the midpoint is the tangent, whether it supports the envelope or not.
        pairs = [(p, q) for i, p in enumerate(points) for q in points[i + 2 :]]
        slope = curve.slope(middle)
    else:
        pairs = list(combinations(points, 2))
        slope = tangent
    sources = vertices if curve.jumps else ()
    on_arc = torch.full_like(middle, curve.polygonal, dtype=torch.bool)
    for span in curve.spans(lo, hi, side):
        on_arc = on_arc | ((span.start < middle) & (middle < span.end))
        for p in (ends[0], *sources) if span.from_left else ():
            x = tangent_point(curve, span, p, True, side)
            pairs.append((p, (x, curve.f(x))))
        for p in (*sources, ends[1]) if span.from_right else ():
            x = tangent_point(curve, span, p, False, side)
            pairs.append(((x, curve.f(x)), p))
    best = torch.where(on_arc, curve.f(middle), side * torch.inf)
    for p, q in pairs:
        k, valid = chord(p, q)
        left, right = (middle - p[0]).detach(), (q[0] - middle).detach()
        # From the nearer point, so that a midpoint next to a corner is told from the corner.
        y = torch.where(left < right, p[1] + k * left, q[1] - k * right).detach()
        better = valid & (left >= 0) & (right > 0) & (side * y < side * best)
        best, slope = torch.where(better, y, best), torch.where(better, k, slope)
    return slope


def _extreme(a: Tensor, b: Tensor, side: int) -> Tensor:
    return a.minimum(b) if side == LOWER else a.maximum(b)
