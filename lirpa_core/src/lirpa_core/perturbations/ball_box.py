"""The minimum of a linear form over the intersection of an Lp ball with a box.

All is about displacements `d = z - x` in `[-down, up]` with `down, up >= 0`, flattened to `n` elements,
and rests on one inequality. Split the coefficients `a = b + r` in any way; then

    min over ball and box of a.d  >=  min over ball of b.d  +  min over box of r.d
                                   =  -eps * |b|_q  -  sum_i c_i |r_i|

with the capacity `c_i` the distance to the wall towards which `a_i` pushes. Every `b` with
`0 <= b_i <= |a_i|` gives a sound bound, so nothing about how `b` was found needs to be trusted. At the
best split, `b_i = min(|a_i|, s * (c_i / eps)^(p-1))`, the bound is exact (strong duality), and the
one unknown `s` is found by Newton's method. For `p = 1` this is the dual of the fractional knapsack.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lirpa_core.devices import is_traced
from lirpa_core.linear.norms import scaled_norm

#: Most steps of Newton's method: random forms take about ten, geometric ones in theory as many as elements, but
#: what they still gain after 24 is below rounding.
_STEPS = 24


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

    With `w_i = (c_i / eps)^p`, the unknown `t = s^q` is the largest root of the concave and piecewise linear
    `sum_i min(|a_i|^q, t w_i) - t`. Newton's method from the right comes down to it and stays there after
    finitely many steps: `t = sum_free |a_i|^q / (1 - sum_ended w_i)`, where those have ended at their walls
    for which `|a_i|^q > t w_i`. Wherever it stops, the bound is sound.
    """
    largest = size.amax(-1, keepdim=True)
    alpha = size / torch.where(largest > 0, largest, 1)
    c = torch.where(eps > 0, capacity / torch.where(eps > 0, eps, 1), 0)
    share, wall = (alpha * alpha, c * c) if p == 2 else (alpha.pow(q), c.pow(p))
    t = share.sum(-1, keepdim=True)
    for _ in range(_STEPS):
        ended = share > t * wall
        left = 1 - torch.where(ended, wall, 0).sum(-1, keepdim=True)
        new = torch.where(ended, 0, share).sum(-1, keepdim=True) / torch.where(left > 0, left, 1)
        new = torch.where(left > 0, new, t).minimum(t)
        done = not is_traced() and bool((new == t).all())
        t = new
        if done:
            break
    return t.pow(1 / q) * (c if p == 2 else c.pow(p - 1)) * largest
