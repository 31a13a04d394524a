"""Word substitution against every combination of synonyms, and its refusals."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from lirpa_core import BoundedTensor
from lirpa_core.linear.coefficients import DenseCoefficients, PositionwiseCoefficients, SelectedRows
from lirpa_perturbations import PerturbationSynonym
from lirpa_testing import check_perturbation, method_names

#: Three sentences: full, one with padding, one without any substitute.
MASK = torch.tensor(
    [
        [[1, 1, 1], [1, 0, 0], [0, 1, 1], [1, 1, 0]],
        [[1, 0, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0]],
        [[0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]],
    ]
).bool()


def sentences(brute: Any) -> tuple[Tensor, Tensor, Tensor]:
    x, substitutes = brute.randn(3, 4, 3), brute.randn(3, 4, 3, 3, seed=1)
    return x, substitutes, torch.randint(1, 4, (3, 4, 3), generator=torch.Generator().manual_seed(2))


def members(x: Tensor, substitutes: Tensor, costs: Tensor, budget: int) -> Tensor:
    """Every sentence within the budget; shorter lists repeat the nominal one: `[n, B, T, D]`."""
    lists = []
    for b in range(len(x)):
        found = []
        for choice in product(range(-1, substitutes.shape[2]), repeat=x.shape[1]):
            chosen = [(t, s) for t, s in enumerate(choice) if s >= 0]
            if sum(int(costs[b, t, s]) for t, s in chosen) > budget or not all(
                MASK[b, t, s] for t, s in chosen
            ):
                continue
            z = x[b].clone()
            for t, s in chosen:
                z[t] = substitutes[b, t, s]
            found.append(z)
        lists.append(found)
    longest = max(map(len, lists))
    return torch.stack([torch.stack(f + [x[b]] * (longest - len(f))) for b, f in enumerate(lists)], 1)


@pytest.mark.parametrize("budget", [0, 1, 2, 4])
@pytest.mark.parametrize("priced", [False, True])
def test_is_the_minimum_over_every_combination(brute: Any, budget: int, priced: bool) -> None:
    x, substitutes, costs = sentences(brute)
    ptb = PerturbationSynonym(budget, substitutes, MASK, costs if priced else None)
    brute.assert_minimum(ptb, x, members(x, substitutes, costs if priced else torch.ones_like(costs), budget))


def test_free_substitutions_take_no_budget(brute: Any) -> None:
    x, substitutes, _ = sentences(brute)
    free = PerturbationSynonym(0, substitutes, MASK, torch.zeros(1, dtype=torch.long))
    check_perturbation(free, x)
    A = DenseCoefficients(brute.randn(5, 3, 4, 3))
    torch.testing.assert_close(
        free.concretize(x, A), PerturbationSynonym(4, substitutes, MASK).concretize(x, A)
    )


def test_equal_costs_are_a_smaller_budget(brute: Any) -> None:
    x, substitutes, costs = sentences(brute)
    A = DenseCoefficients(brute.randn(5, 3, 4, 3))
    dear = PerturbationSynonym(7, substitutes, MASK, torch.full_like(costs, 3))
    torch.testing.assert_close(
        dear.concretize(x, A), PerturbationSynonym(2, substitutes, MASK).concretize(x, A)
    )


@pytest.mark.parametrize("priced", [False, True])
def test_attacks_stay_inside(brute: Any, priced: bool) -> None:
    x, substitutes, costs = sentences(brute)
    brute.assert_attacks_stay_inside(PerturbationSynonym(2, substitutes, MASK, costs if priced else None), x)


def test_bounds_hold_for_every_sentence_and_grow_with_the_budget(brute: Any) -> None:
    x, substitutes, costs = sentences(brute)
    model, bounded = brute.model_of((4, 3))
    for method in method_names():
        width = torch.zeros(3, 3)
        for budget in (0, 1, 3):
            every = members(x, substitutes, torch.ones_like(costs), budget)
            out = model(every.flatten(0, 1)).reshape(*every.shape[:2], -1)
            ptb = PerturbationSynonym(budget, substitutes, MASK)
            lb, ub = bounded.compute_bounds(x=(BoundedTensor(x, ptb),), method=method)
            assert (lb <= out.amin(0) + 1e-9).all()
            assert (ub >= out.amax(0) - 1e-9).all()
            assert (ub - lb >= width - 1e-9).all()
            width = ub - lb
        assert (width[2] < 1e-9).all()  # the sentence without substitutes


def test_sequence_first_embeddings(brute: Any) -> None:
    x, substitutes, costs = sentences(brute)
    ptb = PerturbationSynonym(2, substitutes.transpose(0, 1), MASK.transpose(0, 1), costs.transpose(0, 1))
    moved, A = ptb.aligned(1, 3), DenseCoefficients(brute.randn(4, 3, 4, 3))
    expected = PerturbationSynonym(2, substitutes, MASK, costs).concretize(x, A)
    torch.testing.assert_close(moved.concretize(x, A), expected)


def test_gradient_reaches_the_embedding_table(brute: Any) -> None:
    x, substitutes, _ = sentences(brute)
    substitutes.requires_grad_()
    PerturbationSynonym(2, substitutes, MASK).concretize(
        x, DenseCoefficients(brute.randn(2, 3, 4, 3))
    ).sum().backward()
    assert substitutes.grad is not None
    assert substitutes.grad.abs().sum() > 0
    assert (substitutes.grad[~MASK] == 0).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"budget": -1}, "budget must be a whole number of at least 0"),
        ({"budget": 0.5}, "budget must be a whole number"),
        ({"budget": torch.tensor([1, 2])}, "budget has 2 elements for 3 examples"),
        ({"eps": 2.0}, "eps must be a number from 0 to 1"),
        ({"substitutes": torch.zeros(3, 4, 0, 3)}, "substitutes must be embeddings"),
        ({"substitutes": torch.zeros(4, 3)}, "substitutes must be embeddings"),
        ({"substitutes": torch.zeros(3, 4, 2, 3).long()}, "substitutes has dtype torch.int64"),
        ({"substitutes": torch.full((3, 4, 2, 3), torch.nan)}, "substitutes must be finite"),
        ({"substitutes": torch.zeros(3, 5, 2, 3)}, "substitutes have shape"),
        ({"mask": torch.ones(3, 4)}, "mask has shape [3, 4]"),
        ({"mask": torch.ones(3, 4, 2)}, "mask must be boolean"),
        ({"costs": torch.tensor(0.5)}, "costs must be whole numbers"),
        ({"costs": torch.tensor(-1)}, "costs must be whole numbers"),
        ({"costs": 1}, "costs is 1"),
    ],
)
def test_refusals_name_the_argument(brute: Any, options: dict[str, Any], words: str) -> None:
    arguments: dict[str, Any] = {"budget": 1, "substitutes": torch.zeros(3, 4, 2, 3)} | options
    brute.refuses(words, lambda: PerturbationSynonym(**arguments).validate(torch.zeros(3, 4, 3)))


def test_refuses_a_tensor_that_is_no_sentence(brute: Any) -> None:
    ptb = PerturbationSynonym(1, torch.zeros(3, 4, 2, 3))
    brute.refuses("must be embeddings [B, T, D]", lambda: ptb.validate(torch.zeros(3, 4)))
    brute.refuses("dimension 0 or 1", lambda: ptb.aligned(2, 3))


def test_repr_shows_the_arguments() -> None:
    ptb = PerturbationSynonym(2, torch.zeros(4, 2, 3), costs=torch.tensor(2), eps=0.5)
    assert repr(ptb) == "PerturbationSynonym(budget=2, substitutes=[4, 2, 3], costs=..., eps=0.5)"


@pytest.mark.parametrize("budget", [0, 1, torch.tensor([2, 0, 4])])
@pytest.mark.parametrize("priced", [False, True])
@pytest.mark.parametrize(
    ("positions", "factors"), [((0, 1, 2, 3), None), ((2,), None), ((3, 1), 1), ((0, 2), 3)]
)
def test_images_of_words_are_what_coefficients_are(brute, budget, priced, positions, factors):
    x, substitutes, costs = sentences(brute)
    ptb = PerturbationSynonym(budget, substitutes, MASK, costs if priced else None, 0.7)
    P, n, k = len(positions), 5, x.shape[-1]
    index = torch.randint(P * n, (20, 1), generator=torch.Generator().manual_seed(8))
    factor = None if factors is None else brute.randn(factors, P, k, seed=9)
    rows = SelectedRows(index, brute.randn(20, 1, seed=10), (P, n))
    A = PositionwiseCoefficients(
        rows, brute.randn(n, k, seed=11), torch.tensor(positions), factor, tuple(x.shape[1:])
    )
    expected = ptb.concretize(x, DenseCoefficients(A.to_dense()))
    torch.testing.assert_close(ptb.concretize(x, A), expected, rtol=1e-12, atol=1e-12)
