"""The point of a box with linear constraints that is nearest to a given one.

With multipliers `λ ≥ 0` of `A z ≤ b`, it is `z(λ) = clip(v - λA)`, where `λ` maximises a concave function
with the gradient `A z(λ) - b`. That gradient is piecewise linear, so two steps suffice: Newton's (Qi and Sun
1993, "A nonsmooth version of Newton's method"), which ends at the solution once the right elements are at
their limits, and the exact maximum over one multiplier, which gets there from afar.
"""

from __future__ import annotations

import torch
from torch import Tensor

_STEPS = 200
#: Of violations, in units of the spacing of floats at the numbers that are added up.
_ULPS = 8


def nearest(v: Tensor, rows: Tensor, b: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """The Euclidean projection of `v` onto `rows z ≤ b`, `lower ≤ z ≤ upper`, up to rounding.

    Args:
        v: `[N, B, n]`.
        rows: `[B, m, n]`.
        b: `[B, m]`.
        lower: `[B, n]`.
        upper: `[B, n]`.
    """
    N, B, n = v.shape
    norm = torch.linalg.vector_norm(rows, dim=-1)
    norm = torch.where(norm > 0, norm, 1)
    rows, b = rows / norm.unsqueeze(-1), (b / norm).expand(B, -1)
    example = torch.arange(B, device=v.device).expand(N, B).reshape(-1)
    flat = v.reshape(-1, n)
    result = flat.maximum(lower[example]).minimum(upper[example])
    weights = flat.new_zeros(len(flat), rows.shape[1])
    todo = torch.arange(len(flat), device=v.device)
    for turn in range(_STEPS):
        problem = _Problem(
            flat[todo], rows[example[todo]], b[example[todo]], lower[example[todo]], upper[example[todo]]
        )
        here = weights[todo]
        point, slope = problem.at(here)
        result[todo] = point
        error = _error(here, slope)
        open_ = error > problem.tolerance
        if not bool(open_.any()):
            break
        todo, problem, here, point, slope, error = (
            todo[open_],
            problem.of(open_),
            here[open_],
            point[open_],
            slope[open_],
            error[open_],
        )
        step = problem.newton(here, point, slope)
        uphill = ((step * slope).sum(-1, keepdim=True) > 0) & (turn % 4 < 3)
        weights[todo] = problem.along(here, torch.where(uphill, step, problem.single(here, slope)))
    return result.reshape(v.shape)


def _error(weights: Tensor, slope: Tensor) -> Tensor:
    """The largest violation of a constraint, or room below one whose multiplier is not zero, `[k]`."""
    return torch.where(weights > 0, slope.abs(), slope.clamp(min=0)).amax(-1)


class _Problem:
    """Projections of `k` points: `v` `[k, n]`, rows `[k, m, n]`, sides `[k, m]`, limits `[k, n]`."""

    def __init__(self, v: Tensor, rows: Tensor, b: Tensor, lower: Tensor, upper: Tensor) -> None:
        self.v, self.rows, self.b, self.lower, self.upper = v, rows, b, lower, upper
        size = lower.abs().maximum(upper.abs()).maximum(v.abs())
        size = torch.einsum("kmi,ki->km", rows.abs(), size) + b.abs()
        self.tolerance = _ULPS * torch.finfo(v.dtype).eps * size.amax(-1)  # [k]

    def of(self, which: Tensor) -> _Problem:
        """Some of the points."""
        return _Problem(self.v[which], self.rows[which], self.b[which], self.lower[which], self.upper[which])

    def at(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The point `[k, n]` of multipliers `[k, m]`, and by how much it violates each constraint."""
        z = (self.v - torch.einsum("km,kmi->ki", weights, self.rows)).maximum(self.lower).minimum(self.upper)
        return z, torch.einsum("kmi,ki->km", self.rows, z) - self.b

    def newton(self, weights: Tensor, point: Tensor, slope: Tensor) -> Tensor:
        """The step to where slopes would be zero if elements stayed at their limits or within them."""
        free = (point > self.lower) & (point < self.upper)
        active = (weights > 0) | (slope > 0)
        rows = torch.where(free.unsqueeze(-2) & active.unsqueeze(-1), self.rows, 0)
        matrix = rows @ rows.mT
        small = (
            torch.finfo(matrix.dtype).eps ** 0.5
        )  # keeps steps in directions without curvature in proportion
        matrix = matrix + torch.diag_embed(torch.where(active, small, 1))
        step, _ = torch.linalg.solve_ex(matrix, torch.where(active, slope, 0))
        return torch.where(step.isfinite() & ((weights > 0) | (step > 0)), step, 0)

    def single(self, weights: Tensor, slope: Tensor) -> Tensor:
        """A step of the multiplier with the largest error alone."""
        j = torch.where(weights > 0, slope.abs(), slope).argmax(-1, keepdim=True)
        return torch.zeros_like(slope).scatter(-1, j, slope.gather(-1, j).sign())

    def along(self, weights: Tensor, step: Tensor) -> Tensor:
        """The best multipliers in a direction, as far as they remain at least zero.

        The slope in that direction falls, piecewise linearly, between the two turns of each element, at
        which `v - λA` enters and leaves the box.
        """
        g = torch.einsum("km,kmi->ki", step, self.rows)
        start = self.v - torch.einsum("km,kmi->ki", weights, self.rows)
        some = torch.where(g != 0, g, 1)
        enters, leaves = (start - self.upper) / some, (start - self.lower) / some
        enters, leaves = enters.minimum(leaves), enters.maximum(leaves)
        turns, order = torch.cat([enters, leaves], -1).sort(-1)
        pace = torch.cat([g * g, -g * g], -1).gather(-1, order)
        rate, passed = pace.cumsum(-1), (pace * turns).cumsum(-1)
        top = (g * self.lower).maximum(g * self.upper).sum(-1, keepdim=True)
        top = top - (step * self.b).sum(-1, keepdim=True)
        last = (top - (rate * turns - passed) > 0).sum(-1, keepdim=True).clamp(min=1) - 1
        rate, passed, turn = (t.gather(-1, last) for t in (rate, passed, turns))
        length = torch.where(rate > 0, (top + passed) / torch.where(rate > 0, rate, 1), turn).clamp(min=0)
        falls = step < 0
        room = torch.where(falls, weights / torch.where(falls, -step, 1), torch.inf)
        length = length.minimum(room.amin(-1, keepdim=True))
        return torch.where(room <= length, 0, (weights + length * step).clamp(min=0))
