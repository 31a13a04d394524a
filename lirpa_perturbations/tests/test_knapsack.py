"""The knapsack against every choice."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch

from lirpa_perturbations.knapsack import Alternatives


@pytest.mark.parametrize("priced", [False, True])
def test_sum_and_choice_are_the_best_there_are(brute: Any, priced: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    gains = brute.randn(7, 2, 4, 3)
    mask = torch.rand(2, 4, 3, generator=generator) > 0.3
    costs = torch.randint(0, 4, (2, 4, 3), generator=generator) if priced else None
    budget = torch.tensor([2, 4])
    alternatives = Alternatives(mask, costs, budget)
    best, chosen = alternatives.best_sum(gains), alternatives.choose(gains)
    price = torch.ones(2, 4, 3, dtype=torch.long) if costs is None else costs
    for b in range(2):
        totals = []
        for choice in product(range(-1, 3), repeat=4):
            picked = [(t, s) for t, s in enumerate(choice) if s >= 0]
            if all(mask[b, t, s] for t, s in picked) and sum(price[b, t, s] for t, s in picked) <= budget[b]:
                totals.append(sum((gains[:, b, t, s] for t, s in picked), torch.zeros(7).double()))
        torch.testing.assert_close(best[:, b], torch.stack(totals).amax(0))
        for r in range(7):
            picked = [(t, int(s)) for t, s in enumerate(chosen[r, b]) if s >= 0]
            assert all(mask[b, t, s] for t, s in picked)
            assert sum(int(price[b, t, s]) for t, s in picked) <= budget[b]
            total = sum((gains[r, b, t, s] for t, s in picked), torch.zeros(()).double())
            torch.testing.assert_close(total, best[r, b])
