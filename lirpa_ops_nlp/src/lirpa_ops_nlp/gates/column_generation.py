"""Planes under and over a surface on a box: slopes by column generation, intercepts exact for any slopes.

The plane with the largest value at a target supports the convex envelope there. It is found
by the simplex method: three points of the graph whose triangle contains the target span a plane; the
point farthest below that plane replaces one of the three, and so on (cf. Ryou et al. 2021, PROVER, who
solve the linear program of sampled points and then look for the largest violation). The planes of
McCormick's envelope of the two factors, each bounded by itself, are candidates as well.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lirpa_ops_nlp.gates.surface import Box, Surface, clearly_less

#: How often a point is exchanged. Values at the target settle to three digits or so after four.
EXCHANGES = 6

#: Where in the box (from −1 to 1) the plane is to be high: half way between the centre, where the value stands
#: for the volume, and small `y`. Of planes that are equally high at the centre, as the two of McCormick are,
#: that picks the one with the smaller slope by `y`: the state of a recurrent network, whose bounds that slope
#: multiplies at every step. Mean widths of an LSTM (7 steps, hidden 64, eps 0.05, 16 inputs; CROWN-IBP and
#: CROWN) with the second number 0.05, 0.2, 0.3, 0.5: 4.47, 4.21, 4.14, 4.12 and 0.0493, 0.0493, 0.0494, 0.0498.
TARGET = (0.011, -0.3)


class Planes(NamedTuple):
    """`a·x + b·y + c` for every element."""

    a: Tensor
    b: Tensor
    c: Tensor


class _Search(NamedTuple):
    value: Tensor
    a: Tensor
    b: Tensor


def both_planes(
    surface: Surface, box: Box, hints: tuple[tuple[Tensor, Tensor], ...]
) -> tuple[Planes, Planes]:
    """Planes below and above, the upper one as the lower one of the box mirrored in `y`.

    Args:
        surface: The surface.
        box: The box, tensors of one shape.
        hints: Slopes `(a, b)` of planes to be tried, for the box and its mirror image stacked along a new
            first dimension.

    Returns:
        A plane below and a plane above.
    """
    both = stacked_with_mirror(box)
    a, b = best_slopes(surface, Box(*(t.detach() for t in both)), hints)
    c = surface.least(both, a, b, steps=12).value
    return Planes(a[0], b[0], c[0]), Planes(-a[1], b[1], -c[1])


def stacked_with_mirror(box: Box) -> Box:
    """The box and its mirror image in `y`, stacked along a new first dimension."""
    mirrored = Box(box.lx, box.ux, -box.uy, -box.ly)
    return Box(*(torch.stack(pair) for pair in zip(box, mirrored, strict=True)))


def best_slopes(
    surface: Surface, box: Box, hints: tuple[tuple[Tensor, Tensor], ...]
) -> tuple[Tensor, Tensor]:
    """Slopes of the plane below with the largest value at the target, as far as found."""
    cx, cy = box.lx / 2 + box.ux / 2, box.ly / 2 + box.uy / 2
    rx, ry = box.ux / 2 - box.lx / 2, box.uy / 2 - box.ly / 2
    steep_x, low_y, high_y = surface.slope_range(box)
    qx, qy = (cx.new_tensor(t).expand_as(cx) for t in TARGET)

    def improve(best: _Search | None, a: Tensor, b: Tensor, steps: int = 4) -> tuple[_Search, Tensor, Tensor]:
        a = torch.where(a.isnan(), 0, a).maximum(-steep_x).minimum(steep_x)
        b = torch.where(b.isnan(), 0, b).maximum(low_y).minimum(high_y)
        found = surface.least(box, a, b, steps)
        value = found.value + a * (cx + qx * rx) + b * (cy + qy * ry)
        if best is not None:
            take = clearly_less(best.value, value)
            best = _Search(*(torch.where(take, n, o) for n, o in zip((value, a, b), best, strict=True)))
        return best or _Search(value, a, b), found.x, found.y

    best: _Search | None = None
    for a, b in hints:
        best, _, _ = improve(best, a, b)
    points = _first_triangle(surface, box, qx, qy)
    barycentric = _barycentric(points, qx, qy)
    heights = torch.stack([surface.value(cx + rx * p[0], cy + ry * p[1]) for p in points.unbind()])
    for step in range(EXCHANGES):
        p, q = _slopes(points, heights)
        a, b = _per_unit(p, rx), _per_unit(q, ry)
        best, x, y = improve(best, a, b)
        if step + 1 < EXCHANGES:
            entering = torch.stack([_per_unit(x - cx, rx).clamp(-1, 1), _per_unit(y - cy, ry).clamp(-1, 1)])
            points, barycentric, heights = _exchange(
                points, barycentric, heights, entering, surface.value(x, y)
            )
    assert best is not None
    # The values so far are rough, and a rough idea may prefer what is worse than a hint.
    chosen: _Search | None = None
    for a, b in ((best.a, best.b), *hints):
        chosen, _, _ = improve(chosen, a, b, steps=12)
    assert chosen is not None
    return chosen.a, chosen.b


def _per_unit(x: Tensor, radius: Tensor) -> Tensor:
    return torch.where(radius > 0, x / torch.where(radius > 0, radius, 1), 0)


def _first_triangle(surface: Surface, box: Box, qx: Tensor, qy: Tensor) -> Tensor:
    """Both ends of the diagonal whose mean is lower, and the corner on the target's side: `[3, 2, ..]`."""
    rising = surface.value(box.lx, box.ly) + surface.value(box.ux, box.uy)
    falling = surface.value(box.lx, box.uy) + surface.value(box.ux, box.ly)
    one = torch.ones_like(rising)
    first = torch.where(clearly_less(rising, falling), -one, one)
    # The diagonal from (−1, first) to (1, −first), and (side, side·first) on the side of the target.
    side = torch.where(qx + first * qy > 0, one, -one)
    return torch.stack(
        [torch.stack([-one, first]), torch.stack([one, -first]), torch.stack([side, side * first])]
    )


def _cross(u: Tensor, v: Tensor) -> Tensor:
    return u[0] * v[1] - u[1] * v[0]


def _barycentric(points: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Shares of the three points in `(x, y)`, `[3, ..]`."""
    o, u, v = points[0], points[1] - points[0], points[2] - points[0]
    w = torch.stack([x, y]) - o
    area = _cross(u, v)
    safe = torch.where(area == 0, 1, area)
    second, third = _cross(w, v) / safe, _cross(u, w) / safe
    return torch.stack([1 - second - third, second, third])


def _slopes(points: Tensor, heights: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes of the plane through three points of the graph."""
    u, v = points[1] - points[0], points[2] - points[0]
    du, dv = heights[1] - heights[0], heights[2] - heights[0]
    area = _cross(u, v)
    safe = torch.where(area == 0, 1, area)
    return (du * v[1] - dv * u[1]) / safe, (dv * u[0] - du * v[0]) / safe


def _exchange(
    points: Tensor, barycentric: Tensor, heights: Tensor, entering: Tensor, height: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Let a point in for the one that keeps the target inside the triangle."""
    its = _barycentric(points, entering[0], entering[1])
    ratio = torch.where(its > 1e-9, barycentric / torch.where(its > 1e-9, its, 1), torch.inf)
    amount, leaving = ratio.min(0)
    amount = torch.where(amount.isfinite(), amount, 0)
    out = torch.arange(3, device=barycentric.device).reshape(3, *[1] * (barycentric.dim() - 1)) == leaving
    barycentric = torch.where(out, amount, (barycentric - amount * its).clamp(min=0))
    points = torch.where(out.unsqueeze(1), entering, points)
    return points, barycentric, torch.where(out, height, heights)
