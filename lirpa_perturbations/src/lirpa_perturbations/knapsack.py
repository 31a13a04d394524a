"""Choosing at most one alternative a position within a budget: the multiple-choice knapsack.

Where every alternative costs one, the best alternative of each of the `budget` most profitable positions
is optimal. Otherwise a dynamic programme over positions and money spent is, in
O(positions · budget²) steps (Dudzinski and Walukiewicz 1987, "Exact methods for the knapsack problem and
its generalizations", sec. 5).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_perturbations.budget import Count, counts, top_mask, top_sum


@dataclass(frozen=True, eq=False)
class Alternatives:
    """What may be chosen at each of `P` positions, and for how much in all.

    Attributes:
        mask: Which of the `S` alternatives exist: boolean `[B, P, S]`; `B` of one is shared.
        costs: Whole prices, not negative, `[B, P, S]`; None: all cost one.
        budget: What the choices may cost together.
    """

    mask: Tensor
    costs: Tensor | None
    budget: Count

    def affordable(self) -> Tensor:
        """Which alternatives fit the budget on their own: boolean `[B, P, S]`."""
        limit = counts(self.budget, self.mask.device).reshape(-1, 1, 1)
        return self.mask & ((1 if self.costs is None else self.costs) <= limit)

    def best_sum(self, gains: Tensor) -> Tensor:
        """The largest total gain: `[..., B, P, S]` to `[..., B]`, not negative."""
        if self.costs is None:
            return top_sum(_best(gains, self.mask).values, self.budget)
        table = gains.new_zeros(*gains.shape[:-2], self._money)
        by_cost = self._by_cost(gains)[0]
        for position in range(gains.shape[-2]):
            table = _options(table, by_cost[..., position, :]).amax(-1)
        return self._at_budget(table)

    def choose(self, gains: Tensor) -> Tensor:
        """Alternatives of the largest total gain, by number, -1 for none: `[..., B, P]`."""
        if self.costs is None:
            best, index = _best(gains, self.mask)
            return torch.where(top_mask(best, self.budget) & (best > 0), index, -1)
        table = gains.new_zeros(*gains.shape[:-2], self._money)
        by_cost, index = self._by_cost(gains)
        spending = []
        for position in range(gains.shape[-2]):
            table, spent = _options(table, by_cost[..., position, :]).max(-1)
            spending.append(spent)
        left = counts(self.budget, gains.device).expand(table.shape[:-1]).unsqueeze(-1)
        chosen = []
        for position in reversed(range(gains.shape[-2])):
            spent = spending[position].gather(-1, left)  # 0: nothing chosen, c + 1: for a price of c
            price = (spent - 1).clamp(min=0)
            number = index[..., position, :].gather(-1, price)
            chosen.append(torch.where(spent > 0, number, -1))
            left = left - price
        return torch.cat(chosen[::-1], -1)

    def price(self, chosen: Tensor) -> Tensor:
        """What a choice `[..., B, P]` costs: `[..., B]`."""
        if self.costs is None:
            return (chosen >= 0).sum(-1)
        costs = self.costs.expand(*chosen.shape, self.costs.shape[-1])
        price = costs.gather(-1, chosen.clamp(min=0).unsqueeze(-1)).squeeze(-1)
        return torch.where(chosen >= 0, price, 0).sum(-1)

    @property
    def _money(self) -> int:
        return 1 + int(counts(self.budget, self.mask.device).max())

    def _by_cost(self, gains: Tensor) -> tuple[Tensor, Tensor]:
        """The best gain of each position and price, and its alternative: two of `[..., B, P, budget + 1]`."""
        assert self.costs is not None
        found = [_best(gains, self.mask & (self.costs == c)) for c in range(self._money)]
        return torch.stack([f.values for f in found], -1), torch.stack([f.indices for f in found], -1)

    def _at_budget(self, table: Tensor) -> Tensor:
        limit = counts(self.budget, table.device).expand(table.shape[:-1])
        return table.gather(-1, limit.unsqueeze(-1)).squeeze(-1)


def _best(gains: Tensor, mask: Tensor) -> torch.return_types.max:
    """The largest gain of each position, at least zero, and where."""
    return torch.where(mask, gains.clamp(min=0), 0).max(-1)


def _options(table: Tensor, gains: Tensor) -> Tensor:
    """Totals after one more position: choose nothing, or the best for each price.

    Args:
        table: `[..., M]`: best total for at most `j` spent so far.
        gains: `[..., M]`: best gain of this position by price.

    Returns:
        `[..., M, 1 + M]`: for at most `j` spent now.
    """
    money = table.shape[-1]
    options = [table]
    for price in range(money):
        paid = table[..., : money - price] + gains[..., price : price + 1]
        options.append(torch.nn.functional.pad(paid, (price, 0), value=-1.0))
    return torch.stack(options, -1)
