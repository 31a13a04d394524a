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

from lirpa_ops_nlp.gates.following import (
    EXCHANGES,
    Exchange,
    Frame,
    Hints,
    Path,
    cross,
    followed,
    limited,
    settled,
)
from lirpa_ops_nlp.gates.surface import Box, Surface, clearly_less

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
    which: Tensor


def both_planes(surface: Surface, box: Box, hints: Hints) -> tuple[Planes, Planes]:
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
    fixed = Box(*(t.detach() for t in both))
    a, b, path = best_slopes(surface, fixed, tuple((a.detach(), b.detach()) for a, b in hints))
    if any(t.requires_grad for t in both):
        a, b = followed(surface, both, hints, path)
    c = surface.least(both, a, b, exact=True).value
    return Planes(a[0], b[0], c[0]), Planes(-a[1], b[1], -c[1])


def planes_of_slopes(
    surface: Surface, box: Box, below: tuple[Tensor, Tensor], above: tuple[Tensor, Tensor]
) -> tuple[Planes, Planes]:
    """The tightest planes of slopes `(a, b)` below and above, sound for any."""
    both = stacked_with_mirror(box)
    a, b = torch.stack([below[0], -above[0]]), torch.stack([below[1], above[1]])
    a, b = limited(a, b, surface.slope_range(both))
    c = surface.least(both, a, b, exact=True).value
    return Planes(a[0], b[0], c[0]), Planes(-a[1], b[1], -c[1])


def stacked_with_mirror(box: Box) -> Box:
    """The box and its mirror image in `y`, stacked along a new first dimension."""
    mirrored = Box(box.lx, box.ux, -box.uy, -box.ly)
    return Box(*(torch.stack(pair) for pair in zip(box, mirrored, strict=True)))


def best_slopes(surface: Surface, box: Box, hints: Hints) -> tuple[Tensor, Tensor, Path]:
    """Slopes of the plane below with the largest value at the target, as far as found, and how they were found.

    Args:
        surface: The surface.
        box: The box; nothing here carries gradients.
        hints: Slopes of planes to be tried.
    """
    qx, qy = (box.lx.new_tensor(t).expand_as(box.lx) for t in TARGET)
    frame = Frame.of(box)
    limits = surface.slope_range(box)

    def improve(
        best: _Search | None, which: Tensor, a: Tensor, b: Tensor, exact: bool = False
    ) -> tuple[_Search, Tensor, Tensor]:
        a, b = limited(a, b, limits)
        found = surface.least(box, a, b, exact)
        value = found.value + a * (frame.cx + qx * frame.rx) + b * (frame.cy + qy * frame.ry)
        if best is not None:
            take = clearly_less(best.value, value)
            new = (value, a, b, which)
            best = _Search(*(torch.where(take, n, o) for n, o in zip(new, best, strict=True)))
        return best or _Search(value, a, b, which), found.x, found.y

    numbers = torch.arange(EXCHANGES + len(hints), device=box.lx.device)
    steps, of_hints = numbers[:EXCHANGES].expand(*box.lx.shape, -1).unbind(-1), numbers[EXCHANGES:]
    best: _Search | None = None
    for number, (a, b) in zip(of_hints, hints, strict=True):
        best, _, _ = improve(best, number.expand_as(a), a, b)
    first = _first_triangle(surface, box, qx, qy)
    points, barycentric, heights = first, _barycentric(first, qx, qy), frame.heights(surface, first)
    exchanges = []
    for step in range(EXCHANGES):
        a, b = frame.slopes(points, heights)
        best, x, y = improve(best, steps[step], a, b)
        if step + 1 < EXCHANGES:
            x, y = settled(surface, box, *limited(a, b, limits), x, y)
            entering = frame.relative(x, y)
            out, barycentric = _exchange(points, barycentric, entering)
            exchanges.append(Exchange(x, y, out))
            points = torch.where(out.unsqueeze(1), entering, points)
            heights = torch.where(out, surface.value(x, y), heights)
    assert best is not None
    # The values so far are rough, and a rough idea may prefer what is worse than a hint.
    chosen, _, _ = improve(None, best.which, best.a, best.b, exact=True)
    for number, (a, b) in zip(of_hints, hints, strict=True):
        chosen, _, _ = improve(chosen, number.expand_as(a), a, b, exact=True)
    return chosen.a, chosen.b, Path(first, tuple(exchanges), chosen.which)


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


def _barycentric(points: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Shares of the three points in `(x, y)`, `[3, ..]`."""
    o, u, v = points[0], points[1] - points[0], points[2] - points[0]
    w = torch.stack([x, y]) - o
    area = cross(u, v)
    safe = torch.where(area == 0, 1, area)
    second, third = cross(w, v) / safe, cross(u, w) / safe
    return torch.stack([1 - second - third, second, third])


def _exchange(points: Tensor, barycentric: Tensor, entering: Tensor) -> tuple[Tensor, Tensor]:
    """Which point leaves so that the target stays inside the triangle, `[3, ..]`, and the shares afterwards."""
    its = _barycentric(points, entering[0], entering[1])
    ratio = torch.where(its > 1e-9, barycentric / torch.where(its > 1e-9, its, 1), torch.inf)
    amount, leaving = ratio.min(0)
    amount = torch.where(amount.isfinite(), amount, 0)
    out = torch.arange(3, device=barycentric.device).reshape(3, *[1] * (barycentric.dim() - 1)) == leaving
    return out, torch.where(out, amount, (barycentric - amount * its).clamp(min=0))
