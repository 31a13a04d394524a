"""Ranks that elements may have."""

import itertools

import torch

from lirpa_core.operators.possible_ranks import possible_ranks


def _brute_force(lower, upper):
    """Ranks that occur for ends and for middles of the elements, ties in either order."""
    n = lower.shape[-1]
    found = [set() for _ in range(n)]
    for values in itertools.product(*zip(lower.tolist(), upper.tolist(), strict=True)):
        for j, value in enumerate(values):
            below = sum(v < value for v in values)
            equal = sum(v == value for v in values)
            found[j] |= set(range(below, below + equal))
    return found


def test_against_all_orders():
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        lower = torch.randint(
            0, 5, (4,), generator=generator
        ).double()  # whole numbers, so that there are ties
        upper = lower + torch.randint(0, 3, (4,), generator=generator)
        ranks = possible_ranks(lower[None], upper[None])
        for j, seen in enumerate(_brute_force(lower, upper)):
            assert (ranks.least[0, j], ranks.greatest[0, j]) == (min(seen), max(seen))


def test_who_may_have_a_rank():
    lower, upper = torch.tensor([[0.0, 3.0, 1.0]]), torch.tensor([[2.0, 4.0, 1.5]])
    may = possible_ranks(lower, upper).may_have(torch.tensor([0, 2]))
    assert may.tolist() == [[[True, False, True], [False, True, False]]]
