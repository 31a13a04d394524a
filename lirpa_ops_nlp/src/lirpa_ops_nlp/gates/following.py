"""The slopes that a search has found, as a differentiable function of the box.

The search for a plane runs without gradients and leaves a path: which point entered when, which one left, and which plane
won. Along a path every step has a derivative. A point that entered is where `f − ax − by` is least for slopes `a` and `b`
of the step before; where it is not held by an end of the box, it moves as the implicit function of `∇f = (a, b)` does, by
the inverse of the Hessian in the coordinates that are free. A plane through three points of the graph moves with all of
them. So the gradient is that of what was computed, however far the search had come.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from lirpa_ops_nlp.gates.surface import Box, Surface, held

#: How often a point is exchanged. Values at the target settle to three digits or so after four.
EXCHANGES = 6

#: Slopes `(a, b)` of planes.
Hints: TypeAlias = tuple[tuple[Tensor, Tensor], ...]


class Exchange(NamedTuple):
    """A point that entered, and whom it replaced.

    Attributes:
        x: Its first coordinate, in the box.
        y: Its second coordinate.
        out: Which of the three points left, `[3, ..]`.
    """

    x: Tensor
    y: Tensor
    out: Tensor


class Path(NamedTuple):
    """How slopes were found.

    Attributes:
        first: The three points of the beginning, in units of the box, `[3, 2, ..]`.
        exchanges: Those that followed.
        which: The number of the plane that won: of the step, or the number of steps and that of a hint.
    """

    first: Tensor
    exchanges: tuple[Exchange, ...]
    which: Tensor


@dataclass(frozen=True)
class Frame:
    """Coordinates in which the box reaches from −1 to 1.

    Attributes:
        cx: Centre.
        rx: Radius.
        cy: Centre.
        ry: Radius.
    """

    cx: Tensor
    rx: Tensor
    cy: Tensor
    ry: Tensor

    @staticmethod
    def of(box: Box) -> Frame:
        """The frame of a box."""
        return Frame(
            box.lx / 2 + box.ux / 2, box.ux / 2 - box.lx / 2, box.ly / 2 + box.uy / 2, box.uy / 2 - box.ly / 2
        )

    def relative(self, x: Tensor, y: Tensor) -> Tensor:
        """A point in units of the box, `[2, ..]`."""
        return torch.stack(
            [_per_unit(x - self.cx, self.rx).clamp(-1, 1), _per_unit(y - self.cy, self.ry).clamp(-1, 1)]
        )

    def heights(self, surface: Surface, points: Tensor) -> Tensor:
        """Values at points in units of the box, `[3, ..]`."""
        return torch.stack(
            [surface.value(self.cx + self.rx * p[0], self.cy + self.ry * p[1]) for p in points.unbind()]
        )

    def slopes(self, points: Tensor, heights: Tensor) -> tuple[Tensor, Tensor]:
        """Slopes of the plane through three points of the graph."""
        u, v = points[1] - points[0], points[2] - points[0]
        du, dv = heights[1] - heights[0], heights[2] - heights[0]
        area = cross(u, v)
        safe = torch.where(area == 0, 1, area)
        p, q = (du * v[1] - dv * u[1]) / safe, (dv * u[0] - du * v[0]) / safe
        return _per_unit(p, self.rx), _per_unit(q, self.ry)


def cross(u: Tensor, v: Tensor) -> Tensor:
    """The third component of the cross product of two points of the plane."""
    return u[0] * v[1] - u[1] * v[0]


def limited(a: Tensor, b: Tensor, limits: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Slopes cut to `Surface.slope_range`; zero for what is not a number."""
    steep_x, low_y, high_y = limits
    return _between(a, -steep_x, steep_x), _between(b, low_y, high_y)


def settled(surface: Surface, box: Box, a: Tensor, b: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Newton's method for where `f − ax − by` is least, from a point near it, in the coordinates that are free."""
    for _ in range(surface.settling):
        step_x, step_y = _newton(surface, box, a, b, x, y)
        there_x, there_y = x + step_x, y + step_y
        inside = (box.lx <= there_x) & (there_x <= box.ux) & (box.ly <= there_y) & (there_y <= box.uy)
        x, y = torch.where(inside, there_x, x), torch.where(inside, there_y, y)
    return x, y


def followed(surface: Surface, box: Box, hints: Hints, path: Path) -> tuple[Tensor, Tensor]:
    """The slopes at the end of a path, with gradients by the box.

    Args:
        surface: The surface.
        box: The box.
        hints: As the search was given them, with gradients.
        path: What the search has left.
    """
    frame, limits = Frame.of(box), surface.slope_range(box)
    points, heights = path.first, frame.heights(surface, path.first)
    planes = []
    for step in range(EXCHANGES):
        a, b = limited(*frame.slopes(points, heights), limits)
        planes.append((a, b))
        if step < len(path.exchanges):
            entered = path.exchanges[step]
            x, y = _moving(surface, box, a, b, entered.x, entered.y)
            points = torch.where(entered.out.unsqueeze(1), frame.relative(x, y), points)
            heights = torch.where(entered.out, surface.value(x, y), heights)
    planes += [limited(a, b, limits) for a, b in hints]
    chosen = planes[0]
    for number, plane in enumerate(planes):
        here = path.which == number
        chosen = (torch.where(here, plane[0], chosen[0]), torch.where(here, plane[1], chosen[1]))
    return chosen


def _moving(surface: Surface, box: Box, a: Tensor, b: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """A point that `settled` found, moving with the box and the slopes."""
    x, y = held(x, box.lx, box.ux), held(y, box.ly, box.uy)
    step_x, step_y = _newton(surface, box, a, b, x, y)
    return x + (step_x - step_x.detach()), y + (step_y - step_y.detach())


def _newton(surface: Surface, box: Box, a: Tensor, b: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The step to where the gradient is `(a, b)`; zero in what an end of the box holds, and where nothing bends."""
    free_x, free_y = (box.lx < x) & (x < box.ux), (box.ly < y) & (y < box.uy)
    f = surface.jet(x, y)
    fxx, fxy, fyy = f.xx.detach(), f.xy.detach(), f.yy.detach()
    gx, gy = torch.where(free_x, a - f.x, 0), torch.where(free_y, b - f.y, 0)
    # A coordinate that is not free has a curvature of one and nothing to do with the other.
    fxx, fyy = torch.where(free_x, fxx, 1), torch.where(free_y, fyy, 1)
    fxy = torch.where(free_x & free_y, fxy, 0)
    size = fxx * fyy - fxy * fxy
    bends = (size > 0) & (fxx > 0)
    size = torch.where(bends, size, 1)
    step_x, step_y = (fyy * gx - fxy * gy) / size, (fxx * gy - fxy * gx) / size
    return torch.where(bends, step_x, 0), torch.where(bends, step_y, 0)


def _between(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """`x` cut to a range; at a tie the gradient is that of `x`."""
    x = torch.where(x.isnan(), 0, x)
    return torch.where(x < low, low, torch.where(x > high, high, x))


def _per_unit(x: Tensor, radius: Tensor) -> Tensor:
    # Of a radius so small that its square underflows, the quotient has no gradient that a number could hold.
    radius = torch.where(radius <= torch.finfo(radius.dtype).tiny ** 0.25, radius.detach(), radius)
    return torch.where(radius > 0, x / torch.where(radius > 0, radius, 1), 0)
