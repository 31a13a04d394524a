"""Categorical features against every choice of categories, and their refusals."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from lirpa_perturbations import PerturbationCategorical
from lirpa_perturbations.conformance import CATEGORIES, GROUPS, table
from lirpa_testing import check_perturbation

#: Those of one budget for all examples, which `members` can list.
CASES = {
    name: options for name, options in CATEGORIES.items() if not isinstance(options.get("budget"), Tensor)
}


def members(x: Tensor, options: dict[str, Any]) -> Tensor:
    on, off = options.get("on", 1.0), options.get("off", 0.0)
    eps = torch.as_tensor(options.get("eps", 0.0), dtype=x.dtype).expand(12)
    allowed = options.get("allowed", GROUPS)
    found = []
    for choice in product(*([None, *targets] for targets in allowed)):
        if sum(c is not None for c in choice) > options.get("budget", 3):
            continue
        z = x.clone()
        for group, column in zip(GROUPS, choice, strict=True):
            if column is not None:
                z[:, group] = off
                z[:, column] = on
        for signs in product((-1, 1), repeat=4):
            moved = z.clone()
            moved[:, [3, 9, 10, 11]] += eps[[3, 9, 10, 11]] * torch.tensor(signs)
            found.append(moved)
    return torch.stack(found)


@pytest.mark.parametrize("case", CASES)
def test_is_the_minimum_over_every_choice(brute: Any, case: str) -> None:
    options = CASES[case]
    x = table(options.get("on", 1.0), options.get("off", 0.0))
    brute.assert_minimum(PerturbationCategorical(GROUPS, **options), x, members(x, options))


def test_budget_per_example() -> None:
    check_perturbation(PerturbationCategorical(GROUPS, torch.tensor([0, 2]), eps=0.1), table())


def test_attacks_stay_inside(brute: Any) -> None:
    brute.assert_attacks_stay_inside(PerturbationCategorical(GROUPS, 2, eps=0.1), table())


def test_examples_need_not_come_first() -> None:
    eps = torch.rand(12, 1)
    moved = PerturbationCategorical(GROUPS, eps=eps).aligned(1, 2)
    assert torch.equal(
        moved.hull(table()).upper, PerturbationCategorical(GROUPS, eps=eps.T).hull(table()).upper
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"groups": []}, "groups must be lists of columns, none of them empty"),
        ({"groups": [[]]}, "groups must be lists of columns, none of them empty"),
        ({"groups": 3}, "groups must be lists of columns"),
        ({"groups": [[0, 1], [1, 2]]}, "do not overlap"),
        ({"groups": [[-1, 1]]}, "groups must be lists of different columns"),
        ({"groups": [[0, 12]]}, "groups name column 12, but an example has only 12"),
        ({"allowed": [[0]]}, "allowed must hold, for each group"),
        ({"allowed": [[0], [0], [6]]}, "allowed must hold, for each group"),
        ({"allowed": [[0], [], [6]]}, "allowed must be lists of columns, none of them empty"),
        ({"budget": -1}, "budget must be a whole number of at least 0"),
        ({"budget": 4}, "budget is 4, but there are only 3 groups"),
        ({"eps": -0.1}, "eps must be finite and not negative"),
        ({"eps": None}, "eps must be finite and not negative"),
        ({"eps": torch.zeros(5)}, "eps has shape [5]"),
    ],
)
def test_refusals_name_the_argument(brute: Any, options: dict[str, Any], words: str) -> None:
    brute.refuses(words, lambda: PerturbationCategorical(**{"groups": GROUPS} | options).validate(table()))


def test_repr_shows_the_arguments() -> None:
    assert repr(PerturbationCategorical(GROUPS, 2)) == "PerturbationCategorical(3 groups, budget=2, eps=0)"
