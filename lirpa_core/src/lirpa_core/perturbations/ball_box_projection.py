"""The point of an Lp ball, intersected with a box, that is nearest to a given one.

All is about displacements `d = z - x` in `[-down, up]` with `down, up >= 0`, flattened to `n` elements. The
nearest one has the signs of `v`, and with the multiplier `m >= 0` of the ball its elements are

    t_i(m) = min(argmin over t >= 0 of (t - |v_i|)^2 / 2 + m t^p / p, the wall towards which v_i points),

so one number remains to be found, at which `|t(m)|_p = eps`, for all points at once. For `p = 1` the sum of
the elements is piecewise linear in `m`, and its turns are sorted. For `p = 2` the sum of squares is concave
and piecewise linear in `1 / (1 + m)^2`, so that Newton's method ends at the root. For other exponents it
works within a bracket that also shrinks where it does not converge.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lirpa_core.linear.norms import scaled_norm

#: Most steps for the multiplier: four to ten are usual, and halving alone needs one for each bit.
_STEPS = 100
#: Most steps for each element, which start within a factor of two and roughly double the digits.
_INNER_STEPS = 40
#: Of the multiplier for `p = 1`, whose sums lose digits where sizes differ much.
_CORRECTIONS = 2


def nearest(v: Tensor, down: Tensor, up: Tensor, eps: Tensor, p: float) -> Tensor:
    """The Euclidean projection of `v` onto `|d|_p <= eps`, `-down <= d <= up`, for finite `p`.

    Args:
        v: `[..., B, n]`.
        down: `[B, n]`, not negative.
        up: `[B, n]`, not negative.
        eps: Radius `[B, 1]`.
        p: Exponent of the norm.
    """
    clipped = v.clamp(-down, up)
    outside = scaled_norm(clipped, p) > eps.squeeze(-1)  # [..., B]
    if not bool(outside.any()):
        return clipped
    unit = eps.expand(*v.shape[:-1], 1)[outside]  # [k, 1]: from here on, only those that have to move
    scale = torch.where(unit > 0, unit, 1)
    size = v[outside].abs() / scale
    limit = torch.where(v < 0, down, up)[outside] / scale
    t = _SPECIAL.get(p, _by_bracket)(size, limit, p)
    t = t / scaled_norm(t, p).unsqueeze(-1).clamp(min=1)
    moved = torch.where(unit > 0, v[outside].sign() * t * scale, 0)
    result: Tensor = clipped.masked_scatter(outside.unsqueeze(-1), moved).clamp(-down, up)
    return result


def _by_turns(size: Tensor, limit: Tensor, p: float) -> Tensor:
    """`t` of norm one for `p = 1`, for sizes `[k, n]` and walls `[k, n]`."""
    turns, order = torch.cat([size, size - limit], -1).sort(-1, descending=True)
    starts = torch.ones_like(size)  # as m falls an element leaves zero, and later reaches its wall
    sign = torch.cat([starts, -starts], -1).gather(-1, order)
    free = sign.cumsum(-1)  # just below each turn
    total = (sign * turns).cumsum(-1) - free * turns  # the sum of all elements at each turn
    last = (total < 1).sum(-1, keepdim=True).clamp(min=1) - 1
    m = turns.gather(-1, last) - (1 - total.gather(-1, last)) / free.gather(-1, last).clamp(min=1)
    for _ in range(_CORRECTIONS):
        t = (size - m).clamp(min=0).minimum(limit)
        inner = ((t > 0) & (t < limit)).sum(-1, keepdim=True)
        m = m + torch.where(inner > 0, (t.sum(-1, keepdim=True) - 1) / inner.clamp(min=1), 0)
    return (size - m.clamp(min=0)).clamp(min=0).minimum(limit)


def _by_newton(size: Tensor, limit: Tensor, p: float) -> Tensor:
    """`t` of norm one for `p = 2`: `min(s size, limit)`, with `s` from the left, where all are free."""
    largest = size.amax(-1, keepdim=True)
    part = (size / largest) ** 2
    wall = limit * limit
    ended = torch.zeros_like(part, dtype=torch.bool)
    square = torch.zeros_like(largest)
    for _ in range(_STEPS):
        left = torch.where(ended, 0, part).sum(-1, keepdim=True)
        spent = torch.where(ended, wall, 0).sum(-1, keepdim=True)
        new = torch.where(left > 0, (1 - spent) / torch.where(left > 0, left, 1), square).maximum(square)
        done = bool((new == square).all())
        square = new
        ended = square * part >= wall
        if done:
            break
    return (square.sqrt() * (size / largest)).minimum(limit)


def _by_bracket(size: Tensor, limit: Tensor, p: float) -> Tensor:
    """`t` of norm one for any `p` between one and infinity."""
    return _shrink(size, _multiplier(size, limit, p), p)[0].minimum(limit)


_SPECIAL = {1.0: _by_turns, 2.0: _by_newton}


def _multiplier(size: Tensor, limit: Tensor, p: float) -> Tensor:
    """The `m` `[k, 1]` for which `t(m)` has norm one, or slightly less; at zero it has more.

    Newton's method works on `|t(m)|^(1-p)`, which is nearly linear for large `m`.
    """
    k, n = size.shape
    low = torch.zeros_like(size[:, :1])
    spread: float = n ** ((p - 1) / p)
    high = size.amax(-1, keepdim=True) * spread
    m = high / 2  # not zero, where a high power of a far point overflows
    todo = torch.arange(k, device=size.device)
    for _ in range(_STEPS):
        a, b, at = low[todo], high[todo], m[todo]
        t, slope = _shrink(size[todo], at, p)
        wall = limit[todo]
        free = t < wall
        t, slope = t.minimum(wall), torch.where(free, slope, 0)
        norm = scaled_norm(t, p).unsqueeze(-1)
        too_long = norm > 1
        a, b = torch.where(too_long, at, a), torch.where(too_long, b, at)
        unit = torch.where(norm > 0, norm, 1)
        change = ((t / unit).pow(p - 1) * slope).sum(-1, keepdim=True)  # of the norm, by m
        step = unit * (1 - unit.pow(p - 1)) / ((p - 1) * change)
        new = at + torch.where(change < 0, step, torch.inf)
        new = torch.where((new > a) & (new < b), new, a / 2 + b / 2)
        low[todo], high[todo], m[todo] = a, b, new
        tight = (1 - norm).abs() <= 2 * torch.finfo(t.dtype).eps
        open_ = ~(tight | (new <= a) | (new >= b)).squeeze(-1)
        high[todo] = torch.where(tight, at, high[todo])
        todo = todo[open_]
        if todo.numel() == 0:
            break
    return high


def _shrink(size: Tensor, m: Tensor, p: float) -> tuple[Tensor, Tensor]:
    """`argmin over t >= 0 of (t - size)^2 / 2 + m t^p / p`, and its derivative by `m`."""
    t, power = _root(size, m, p) if p > 2 else _root_of_power(size, m, p)
    return t, torch.where(t > 0, -t * power / torch.where(t > 0, t + (p - 1) * m * power, 1), 0)


def _root(size: Tensor, m: Tensor, p: float) -> tuple[Tensor, Tensor]:
    """`t` with `t + m t^(p-1) = size`, and `t^(p-1)`, for `p > 2`: Newton's method from the right."""
    t = size.minimum(_quotient(size, m).pow(1 / (p - 1)))
    for _ in range(_INNER_STEPS):
        power = m * t.pow(p - 2)
        new = (t - (t + power * t - size) / (1 + (p - 1) * power)).clamp(min=0).minimum(t)
        done = bool((t - new <= 2 * torch.finfo(t.dtype).eps * t).all())
        t = new
        if done:
            break
    return t, t.pow(p - 1)


def _root_of_power(size: Tensor, m: Tensor, p: float) -> tuple[Tensor, Tensor]:
    """The same for `p < 2`, where `r = t^(p-1)`, with `r^k + m r = size`, is the smoother unknown."""
    k = 1 / (p - 1)
    r = size.pow(p - 1).minimum(_quotient(size, m))
    for _ in range(_INNER_STEPS):
        power = r.pow(k - 1)
        slope = k * power + m
        new = r - (power * r + m * r - size) / torch.where(slope > 0, slope, 1)
        new = new.clamp(min=0).minimum(r)
        done = bool((r - new <= 2 * torch.finfo(r.dtype).eps * r).all())
        r = new
        if done:
            break
    return r.pow(k), r


def _quotient(size: Tensor, m: Tensor) -> Tensor:
    return torch.where(m > 0, size / torch.where(m > 0, m, 1), torch.inf)
