"""Lower bounds of linear programmes over a box, many at once: good multipliers, then weak duality.

In coordinates in which the box is `[-1, 1]^n`, a multiplier `λ ≥ 0` proves

    min { a·y : |y|∞ ≤ 1, G y ≤ h }  ≥  -h·λ - |a + λG|₁,

whatever `λ` is, so nothing about how it was found needs to be trusted. It is found by the primal-dual
hybrid gradient method (Chambolle and Pock 2011) with restarts from the average, the method of PDLP
(Applegate et al. 2021), and then by exact maximisation over one multiplier after the other, which alone
is optimal for a single constraint.
"""

from __future__ import annotations

import torch
from torch import Tensor

_EPOCHS = 5
_SWEEPS = 2


def multipliers(a: Tensor, G: Tensor, h: Tensor, iterations: int) -> Tensor:
    """Multipliers of a good lower bound, without gradient; zero where nothing beats the box alone.

    Args:
        a: Objectives `[R, B, n]`.
        G: Constraints `[B, m, n]`.
        h: Right-hand sides `[B, m]`.
        iterations: Steps of each of the epochs between restarts.

    Returns:
        `[R, B, m]`, not negative.
    """
    with torch.no_grad():
        size = torch.linalg.vector_norm(a, dim=-1, keepdim=True)
        a = a / torch.where(size > 0, size, 1)
        norm = torch.linalg.vector_norm(G, dim=-1)  # [B, m]
        norm = torch.where(norm > 0, norm, 1)
        G, h = G / norm.unsqueeze(-1), h / norm
        best = torch.zeros(*a.shape[:-1], G.shape[1], dtype=a.dtype, device=a.device)
        best = best.expand(-1, max(a.shape[1], G.shape[0]), -1)
        for found in (*_primal_dual(a, G, h, iterations), best):
            best = _better(a, G, h, best, found)
        for _ in range(_SWEEPS):
            swept = best
            for j in range(G.shape[1]):
                swept = _line_search(a, G, h, swept, j)
            best = _better(a, G, h, best, swept)
        gained = bound(a, G, h, best) > bound(a, G, h, torch.zeros_like(best))
        return torch.where(gained.unsqueeze(-1), best * size / norm, 0)


def bound(a: Tensor, G: Tensor, h: Tensor, weights: Tensor) -> Tensor:
    """The lower bound `[R, B]` that multipliers `[R, B, m]` prove."""
    return -(weights * h).sum(-1) - _reduced(a, G, weights).abs().sum(-1)


def _reduced(a: Tensor, G: Tensor, weights: Tensor) -> Tensor:
    return a + torch.einsum("rbm,bmn->rbn", weights, G)


def _better(a: Tensor, G: Tensor, h: Tensor, old: Tensor, new: Tensor) -> Tensor:
    better = bound(a, G, h, new) > bound(a, G, h, old)
    return torch.where(better.unsqueeze(-1), new, old)


def _primal_dual(a: Tensor, G: Tensor, h: Tensor, iterations: int) -> list[Tensor]:
    R, (B, m, n) = a.shape[0], G.shape
    stretch = torch.linalg.matrix_norm(G, 2).reshape(-1, 1)  # [B, 1]
    step = 0.95 / torch.where(stretch > 0, stretch, 1)
    balance = n**-0.5  # sizes of the two sides: |λ| is about 1, |y| about √n
    tau, sigma = step / balance, step * balance
    y = a.new_zeros(R, max(a.shape[1], B), n)
    weights = a.new_zeros(R, max(a.shape[1], B), m)
    found = []
    for _ in range(_EPOCHS):
        y_sum, weights_sum = torch.zeros_like(y), torch.zeros_like(weights)
        for _ in range(iterations):
            new = (y - tau * _reduced(a, G, weights)).clamp(-1, 1)
            ahead = torch.einsum("bmn,rbn->rbm", G, 2 * new - y)
            weights = (weights + sigma * (ahead - h)).clamp(min=0)
            y = new
            y_sum, weights_sum = y_sum + y, weights_sum + weights
        found += [weights, weights_sum / iterations]
        better = bound(a, G, h, found[-1]) > bound(a, G, h, weights)
        weights = torch.where(better.unsqueeze(-1), found[-1], weights)
        y = torch.where(better.unsqueeze(-1), y_sum / iterations, y)
    return found


def _line_search(a: Tensor, G: Tensor, h: Tensor, weights: Tensor, j: int) -> Tensor:
    """Multipliers with number `j` at its best value, given the others.

    Along it the bound is concave and piecewise linear: it turns where an element of `a + λG` changes sign.
    """
    others = weights.clone()
    others[..., j] = 0
    c, g = _reduced(a, G, others), G[:, j]
    turns = torch.where(g != 0, -c / torch.where(g != 0, g, 1), 0).clamp(min=0)  # [R, B, n]
    ordered, order = turns.sort(-1)
    side = torch.where((c > 0) | ((c == 0) & (g > 0)), 1.0, -1.0).to(c)  # sign just after zero
    slope = (-h[:, j] - (g * side).sum(-1)).unsqueeze(-1)  # [R, B, 1]
    drop = torch.where(turns > 0, 2 * g.abs(), 0).gather(-1, order).cumsum(-1)
    falling = slope - drop <= 0
    first = (~falling).sum(-1, keepdim=True).clamp(max=turns.shape[-1] - 1)
    t = torch.where(slope <= 0, 0, ordered.gather(-1, first))
    others[..., j] = t.squeeze(-1)
    return others
