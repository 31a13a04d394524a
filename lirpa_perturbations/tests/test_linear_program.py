"""The dual simplex method against an independent solver, also where it degenerates."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lirpa_perturbations.linear_program import bound, contradiction, least, multipliers


@pytest.mark.parametrize(("m", "n"), [(1, 4), (3, 40), (12, 8)])
@pytest.mark.parametrize("kind", ["random", "whole numbers", "equations", "no room"])
def test_is_the_minimum(brute: Any, m: int, n: int, kind: str) -> None:
    optimize = pytest.importorskip("scipy.optimize")
    G, inner = brute.randn(2, m, n), 2 * brute.rand(2, n, seed=1) - 1
    G = G.round() if kind in ("whole numbers", "equations") else G
    h = torch.einsum("bmn,bn->bm", G, inner) + (0 if kind == "no room" else 0.1)
    if kind == "equations":
        G, h = torch.cat([G, -G], 1), torch.cat([h, 0.1 - h], 1)
    a = brute.randn(4, 2, n, seed=2)
    a[0], a[1, :, 1:], a[2] = 0, 0, 1
    weights, _ = multipliers(a, G, h, 1000)
    assert (weights >= 0).all()
    value = bound(a, G, h, weights)
    for r in range(4):
        for b in range(2):
            exact = optimize.linprog(a[r, b].numpy(), G[b].numpy(), h[b].numpy(), bounds=(-1, 1)).fun
            assert value[r, b].item() == pytest.approx(exact, abs=1e-9)


def test_its_gradient_is_the_central_difference_by_objectives_constraints_and_sides(brute: Any) -> None:
    a, G, inner = brute.randn(8, 2, 6), brute.randn(2, 4, 6, seed=1), 2 * brute.rand(2, 6, seed=2) - 1
    h = torch.einsum("bmn,bn->bm", G, inner) + 0.1
    given = (a, G, h)
    leaves = [v.clone().requires_grad_() for v in given]
    gradients = torch.autograd.grad(least(*leaves, 1000).sum(), leaves)
    for i in range(3):
        move = brute.randn(*given[i].shape, seed=5 + i)
        ends = [
            least(*[v + s * move if j == i else v for j, v in enumerate(given)], 1000) for s in (1e-6, -1e-6)
        ]
        found = float((ends[0] - ends[1]).sum() / 2e-6)
        assert float((gradients[i] * move).sum()) == pytest.approx(found, rel=1e-6, abs=1e-6)
    assert torch.equal(least(*leaves, 1000), least(*given, 1000))


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_stopped_early_it_is_a_lower_bound_that_grows(brute: Any, steps: int) -> None:
    G, a = brute.randn(1, 10, 8), brute.randn(30, 1, 8, seed=2)
    h = torch.full((1, 10), 0.3).double()
    fewer, more, best = (bound(a, G, h, multipliers(a, G, h, k)[0]) for k in (steps, steps + 1, 1000))
    assert (fewer <= more + 1e-12).all()
    assert (more <= best + 1e-12).all()
    assert (fewer < best).any()


def test_a_contradiction_is_proved_and_none_is_invented(brute: Any) -> None:
    G = brute.randn(3, 3, 6)
    G[:, 2] = -G[:, 0] - G[:, 1]
    nothing = torch.zeros(1, 3, 6).double()
    for room in (-0.01, 0.01):
        h = torch.full((3, 3), room).double()
        proven = bound(nothing, G, h, contradiction(G, h, 1000))
        assert ((proven > 0) == (room < 0)).all()
