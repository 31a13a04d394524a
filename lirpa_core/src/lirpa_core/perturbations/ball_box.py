"""The intersection of an Lp ball with a box: minimum of a linear form, and the nearest point.

Both work on displacements `d = z - x` in `[-down, up]` with `down, up >= 0`, flattened to `n` elements.

The minimum rests on one inequality. Split the coefficients `a = b + r` in any way; then

    min over ball and box of a.d  >=  min over ball of b.d  +  min over box of r.d
                                   =  -eps * |b|_q  -  sum_i c_i |r_i|

with the capacity `c_i` the distance to the wall towards which `a_i` pushes. Every `b` with
`0 <= b_i <= |a_i|` gives a sound bound, so nothing about how `b` was found needs to be trusted. At the
best split, `b_i = min(|a_i|, s * (c_i / eps)^(p-1))`, the bound is exact (strong duality), and the
one unknown `s` follows from sorting. For `p = 1` this is the dual of the fractional knapsack.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lirpa_core.bounds.norms import scaled_norm

_BISECTIONS = 60
_NEWTON_STEPS = 12


def dual_exponent(p: float) -> float:
    """`q` with `1/p + 1/q = 1`."""
    if p == 1:
        return float("inf")
    return 1.0 if p == float("inf") else p / (p - 1)


def minimum(a: Tensor, down: Tensor, up: Tensor, eps: Tensor, p: float) -> Tensor:
    """Minimum of `a.d` over `|d|_p <= eps`, `-down <= d <= up`, for finite `p`.

    Args:
        a: Coefficients `[R, B, n]`.
        down: `[B, n]`, not negative and at most `eps`.
        up: `[B, n]`, not negative and at most `eps`.
        eps: Radius `[B, 1]`.
        p: Exponent of the norm, finite, at least one.

    Returns:
        `[R, B]`, not positive.
    """
    capacity = torch.where(a > 0, down, up)  # [R, B, n]
    size = a.abs().expand_as(capacity)
    return _knapsack(size, capacity, eps) if p == 1 else _split(size, capacity, eps, p)


def _knapsack(size: Tensor, capacity: Tensor, eps: Tensor) -> Tensor:
    ordered, order = size.sort(dim=-1, descending=True)
    spent = capacity.detach().gather(-1, order).cumsum(-1)
    last = (spent < eps).sum(-1, keepdim=True)  # the element at which the budget runs out
    n = size.shape[-1]
    price = ordered.gather(-1, last.clamp(max=n - 1)) * (last < n)  # [R, B, 1]
    return -(price * eps).squeeze(-1) - (capacity * (size - price).clamp(min=0)).sum(-1)


def _split(size: Tensor, capacity: Tensor, eps: Tensor, p: float) -> Tensor:
    q = dual_exponent(p)
    ball = torch.minimum(size, _ball_share(size.detach(), capacity.detach(), eps.detach(), p, q))
    value = -eps.squeeze(-1) * scaled_norm(ball, q) - (capacity * (size - ball)).sum(-1)
    ball_only = -eps.squeeze(-1) * scaled_norm(size, q)
    box_only = -(capacity * size).sum(-1)
    return value.maximum(ball_only).maximum(box_only)


def _ball_share(size: Tensor, capacity: Tensor, eps: Tensor, p: float, q: float) -> Tensor:
    """The best `b`'s upper limits `s * (c / eps)^(p-1)`, `[R, B, n]`, without gradient.

    Element `i` ends at its wall where `s <= |a_i| / (c_i/eps)^(p-1)`. Sort by that threshold; with the
    first `k` elements at their walls the radius is used up for
    `s^q = sum_{i>k} |a_i|^q / (1 - sum_{i<=k} (c_i/eps)^p)`.
    """
    largest = size.amax(-1, keepdim=True)
    alpha = size / torch.where(largest > 0, largest, 1)
    c = torch.where((alpha > 0) & (eps > 0), capacity / torch.where(eps > 0, eps, 1), 0)
    wall = c.pow(p - 1)
    threshold = torch.where(alpha > 0, alpha / wall, 0)
    order = threshold.argsort(dim=-1, descending=True)
    c_p, alpha_q = c.pow(p).gather(-1, order), alpha.pow(q).gather(-1, order)
    used = c_p.cumsum(-1)  # radius spent on walls by the first k
    rest = alpha_q.flip(-1).cumsum(-1).flip(-1)  # over i >= k
    after = torch.cat([rest[..., 1:], torch.zeros_like(rest[..., :1])], -1)  # over i > k
    free = torch.where((after > 0) & (c_p > 0), after * c_p / alpha_q, 0)
    k = (used + free <= 1).sum(-1, keepdim=True)  # how many end at their walls
    spent = torch.where(k > 0, used.gather(-1, (k - 1).clamp(min=0)), 0)
    left = torch.where(k < c.shape[-1], rest.gather(-1, k.clamp(max=c.shape[-1] - 1)), 0)
    limit = torch.finfo(size.dtype).max
    s = torch.where(left > 0, (left / (1 - spent).clamp(min=0)).pow(1 / q), 0).clamp(max=limit)
    return torch.where(wall > 0, s * wall * largest, 0)


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
    inside = scaled_norm(clipped, p).unsqueeze(-1) <= eps
    unit = torch.where(eps > 0, eps, 1)
    size, limit = v.abs() / unit, torch.where(v < 0, down, up) / unit
    n = v.shape[-1]
    low = torch.zeros_like(size[..., :1])
    high = size.amax(-1, keepdim=True) * (1 if p == 1 else n ** ((p - 1) / p))
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        outside = scaled_norm(_shrink(size, middle, p).minimum(limit), p).unsqueeze(-1) > 1
        low, high = torch.where(outside, middle, low), torch.where(outside, high, middle)
    d = _shrink(size, high, p).minimum(limit)
    d = d / scaled_norm(d, p).unsqueeze(-1).clamp(min=1)
    return torch.where(inside, clipped, torch.where(eps > 0, v.sign() * d * unit, 0))


def _shrink(size: Tensor, multiplier: Tensor, p: float) -> Tensor:
    """`argmin over t >= 0 of (t - size)^2 / 2 + multiplier * t^p / p`."""
    if p == 1:
        return (size - multiplier).clamp(min=0)
    if p == 2:
        return size / (1 + multiplier)
    # Newton's method from the right on a convex function: t + m t^(p-1) - size, in t or in r = t^(p-1)
    if p > 2:
        t = size.minimum((size / multiplier).pow(1 / (p - 1)))
        for _ in range(_NEWTON_STEPS):
            power = multiplier * t.pow(p - 2)
            t = t - (t + power * t - size) / (1 + (p - 1) * power)
        return t.clamp(min=0)
    m = 1 / (p - 1)
    r = size.pow(1 / m).minimum(size / multiplier)
    for _ in range(_NEWTON_STEPS):
        power = r.pow(m - 1)
        r = r - (power * r + multiplier * r - size) / (m * power + multiplier)
    return r.clamp(min=0).pow(m)
