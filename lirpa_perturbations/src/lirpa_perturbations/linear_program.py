"""Minima of linear programmes over a box, many at once: the dual simplex method, then weak duality.

In coordinates in which the box is `[-1, 1]^n`, a multiplier `λ ≥ 0` proves

    min { a·y : |y|∞ ≤ 1, G y ≤ h }  ≥  -h·λ - |a + λG|₁,

whatever `λ` is, so nothing about how it was found needs to be trusted. The right-hand side is concave and
piecewise linear in `λ`. The dual simplex method walks along its edges, to the best point of each: past all
turns at which it still rises (the bound flipping ratio test of Maros 2003, "A generalized dual phase-2
simplex algorithm"). It starts where the constraints are ignored and ends at the maximum, which is the
minimum of the programme; stopped earlier, it has a smaller bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_core.devices import is_traced

#: Violations that count as none, where rows of `G` have length one and elements are at most one.
_TOLERANCE = 1e-10
#: Size of the noise on objectives during the search, without which equal turns could make it go in circles.
_NOISE = 1e-10


def bound(a: Tensor, G: Tensor, h: Tensor, weights: Tensor) -> Tensor:
    """The lower bound `[R, B]` that multipliers `[R, B, m]` prove."""
    reduced = a + torch.einsum("rbm,bmn->rbn", weights, G)
    return -(weights * h).sum(-1) - reduced.abs().sum(-1)


def least(a: Tensor, G: Tensor, h: Tensor, iterations: int) -> Tensor:
    """The lower bound `[R, B]` that the best multipliers prove, with its gradient by all that the programme is made of.

    By the envelope theorem that is the gradient of `a·y + λ·(G y − h)` at the multipliers and at the point where the
    minimum is attained: an element whose reduced cost is zero is where the constraints hold it, not at an end of the box.

    Args:
        a: Objectives `[R, B, n]`.
        G: Constraints `[B, m, n]`.
        h: Right-hand sides `[B, m]`.
        iterations: Most steps of the simplex method.
    """
    fixed = a.detach(), G.detach(), h.detach()
    weights, y = multipliers(*fixed, iterations)
    value = bound(*fixed, weights)
    if not (a.requires_grad or G.requires_grad or h.requires_grad):
        return value
    moving = (a * y).sum(-1) + (weights * (torch.einsum("bmn,rbn->rbm", G, y) - h)).sum(-1)
    return value + (moving - moving.detach())


def multipliers(a: Tensor, G: Tensor, h: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """The best multipliers, zero where nothing beats the box alone, and the point that goes with them; without gradient.

    Args:
        a: Objectives `[R, B, n]`.
        G: Constraints `[B, m, n]`.
        h: Right-hand sides `[B, m]`.
        iterations: Most steps of the simplex method.

    Returns:
        Multipliers `[R, B, m]`, not negative, and points `[R, B, n]`.
    """
    with torch.no_grad():
        norm = _norm(G)
        size = torch.linalg.vector_norm(a, dim=-1, keepdim=True)
        objective = a / torch.where(size > 0, size, 1)
        search = _search(objective, G / norm.unsqueeze(-1), h / norm, iterations)
        found = search.weights.to(a) * size / norm
        gained = (bound(a, G, h, found) > bound(a, G, h, torch.zeros_like(found))).unsqueeze(-1)
        point = _point(search, (G / norm.unsqueeze(-1)).double(), (h / norm).double()).to(a)
        return torch.where(gained, found, 0), torch.where(gained, point, -a.sign())


def contradiction(G: Tensor, h: Tensor, iterations: int) -> Tensor:
    """Multipliers `[1, B, m]` that prove, if any do, that no `|y|∞ ≤ 1` has `G y ≤ h`.

    That is so where `bound` of them, with an objective of zero, is positive.
    """
    with torch.no_grad():
        norm = _norm(G)
        nothing = torch.zeros_like(G[:, 0]).unsqueeze(0)
        ray = _search(nothing, G / norm.unsqueeze(-1), h / norm, iterations).ray
        return ray.clamp(min=0).to(G) / norm


def _norm(G: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm(G, dim=-1)
    return torch.where(norm > 0, norm, 1)


@dataclass
class _Search:
    """The state of many programmes. Variables are the `n` elements, then the `m` slacks `h - G y ≥ 0`.

    Attributes:
        inverse: Inverse of the columns of the basic variables, `[R, B, m, m]`.
        basis: Which variables are basic, `[R, B, m]`.
        side: Where elements outside the basis are, -1 or 1, and 0 for those in it, `[R, B, n]`.
        resting: Which slacks are zero and outside the basis, `[R, B, m]`.
        weights: Multipliers `[R, B, m]`.
        ray: A direction in which the bound rises for ever, where one was found, `[R, B, m]`.
        done: `[R, B]`.
    """

    inverse: Tensor
    basis: Tensor
    side: Tensor
    resting: Tensor
    weights: Tensor
    ray: Tensor
    done: Tensor


def _search(a: Tensor, G: Tensor, h: Tensor, iterations: int) -> _Search:
    a, G, h = a.double(), G.double(), h.double()
    (B, m, n), R = G.shape, a.shape[0]
    B = max(B, a.shape[1])
    noise = torch.arange(1, n + 1, device=a.device, dtype=a.dtype) * 0.6180339887498949 % 1 - 0.5
    exact, a = a.expand(R, B, n), (a + _NOISE * noise).expand(R, B, n)
    eye = torch.eye(m, device=a.device, dtype=a.dtype)
    state = _Search(
        inverse=eye.expand(R, B, m, m).contiguous(),
        basis=(n + torch.arange(m, device=a.device)).expand(R, B, m).contiguous(),
        side=torch.where(a > 0, -1.0, 1.0).to(a),
        resting=torch.zeros(R, B, m, dtype=torch.bool, device=a.device),
        weights=a.new_zeros(R, B, m),
        ray=a.new_zeros(R, B, m),
        done=torch.zeros(R, B, dtype=torch.bool, device=a.device),
    )
    columns = torch.cat([G, eye.expand(G.shape[0], m, m)], -1).mT.expand(B, n + m, m)
    if is_traced():
        iterations = min(iterations, 4 * m + 8)  # each is unrolled
    for _ in range(iterations):
        _step(state, a, G, h, columns)
        if not is_traced() and bool(state.done.all()):
            break
    state.weights = _weights(state, exact).clamp(min=0)
    return state


def _values(state: _Search, G: Tensor, h: Tensor) -> Tensor:
    """Values of the basic variables, `[R, B, m]`."""
    return torch.einsum("rbmk,rbk->rbm", state.inverse, h - torch.einsum("bmn,rbn->rbm", G, state.side))


def _point(state: _Search, G: Tensor, h: Tensor) -> Tensor:
    """Values of the elements: at an end of the box, or as the constraints leave them, `[R, B, n]`."""
    n, m = state.side.shape[-1], state.basis.shape[-1]
    everything = state.side.new_zeros(*state.side.shape[:-1], n + m).scatter(
        -1, state.basis, _values(state, G, h)
    )
    return state.side + everything[..., :n]


def _weights(state: _Search, a: Tensor) -> Tensor:
    """The multipliers with which the basic variables have reduced costs of zero, `[R, B, m]`."""
    n = a.shape[-1]
    costs = torch.where(state.basis < n, a.gather(-1, state.basis.clamp(max=n - 1)), 0)
    return -torch.einsum("rbm,rbmk->rbk", costs, state.inverse)


def _step(state: _Search, a: Tensor, G: Tensor, h: Tensor, columns: Tensor) -> None:
    """One basic variable leaves for the limit that it violates most, and another one takes its place."""
    n, m = a.shape[-1], h.shape[-1]
    inverse, basis, side = state.inverse, state.basis, state.side
    free = basis < n  # elements range over [-1, 1], slacks from 0 on
    value = _values(state, G, h)
    above = torch.where(free, value - 1, -torch.inf)
    below = torch.where(free, -1 - value, -value)
    excess, leaving = above.maximum(below).max(-1, keepdim=True)  # [R, B, 1]
    state.done = state.done | (excess.squeeze(-1) <= _TOLERANCE)
    sign = torch.where(below.gather(-1, leaving) > above.gather(-1, leaving), 1.0, -1.0).to(a)
    row = inverse.gather(-2, leaving.unsqueeze(-1).expand(*leaving.shape, m)).squeeze(-2)
    entering, passed, endless = _ratio_test(state, a, G, _weights(state, a), sign * row, excess)
    state.ray = torch.where((endless & ~state.done).unsqueeze(-1), sign * row, state.ray)
    state.done = state.done | endless

    column = columns[torch.arange(a.shape[1], device=a.device), entering.squeeze(-1)]  # [R, B, m]
    column = torch.einsum("rbmk,rbk->rbm", inverse, column)
    pivot = column.gather(-1, leaving)
    new_row = row / torch.where(pivot != 0, pivot, 1)
    at_row = torch.arange(m, device=a.device) == leaving
    update = torch.where(at_row, 1, -column).unsqueeze(-1) * new_row.unsqueeze(-2)
    new_inverse = torch.where(at_row.unsqueeze(-1), 0, inverse) + update

    old = basis.gather(-1, leaving)
    new_side = torch.where(passed, -side, side)
    variable = torch.arange(n, device=a.device)
    new_side = torch.where(variable == old, -sign, new_side)
    new_side = torch.where(variable == entering, 0, new_side)
    slack = n + torch.arange(m, device=a.device)
    stay = state.done.unsqueeze(-1)
    state.resting = torch.where(stay, state.resting, (state.resting | (slack == old)) & (slack != entering))
    state.side = torch.where(stay, side, new_side)
    state.basis = torch.where(stay, basis, torch.where(at_row, entering, basis))
    state.inverse = torch.where(stay.unsqueeze(-1), inverse, new_inverse)


def _ratio_test(
    state: _Search, a: Tensor, G: Tensor, weights: Tensor, direction: Tensor, slope: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """How far the bound rises when multipliers move in a direction.

    Returns:
        The variable at which it stops rising, `[R, B, 1]`; the elements whose turns were passed, `[R, B, n]`;
        whether it never stops, `[R, B]`.
    """
    reduced = a + torch.einsum("rbm,bmn->rbn", weights, G)
    speed = state.side * torch.einsum("rbm,bmn->rbn", direction, G)  # towards a change of sign
    least = 1e-11 * (1 + direction.abs().amax(-1, keepdim=True))
    turns = speed > least
    first = torch.where(turns, (-state.side * reduced).clamp(min=0) / torch.where(turns, speed, 1), torch.inf)
    falls = state.resting & (-direction > least)
    second = torch.where(falls, weights.clamp(min=0) / torch.where(falls, -direction, 1), torch.inf)
    ordered, order = torch.cat([first, second], -1).sort(-1)
    drop = torch.cat([torch.where(turns, 2 * speed, 0), torch.where(falls, torch.inf, 0)], -1)
    left = slope - drop.gather(-1, order).cumsum(-1)
    finite = (ordered < torch.inf).sum(-1, keepdim=True)
    last = (left > 0).sum(-1, keepdim=True)  # how many turns are passed
    endless = (finite == 0) | ((last >= finite) & (left[..., -1:] > _TOLERANCE))
    last = last.minimum((finite - 1).clamp(min=0))
    entering = order.gather(-1, last)
    rank = torch.empty_like(order).scatter(
        -1, order, torch.arange(order.shape[-1], device=a.device).expand_as(order)
    )
    return entering, (rank < last)[..., : a.shape[-1]], endless.squeeze(-1)
