"""What a user passes to a perturbation is read, or refused by the name of the argument."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from lirpa_core.errors import PerturbationError
from lirpa_core.perturbations import broadcasts, parse_limit, require_ordered, show
from lirpa_core.perturbations.arguments import parse_exponent


@pytest.mark.parametrize(
    ("given", "p"), [(2, 2.0), (np.inf, math.inf), (torch.tensor(1.5), 1.5), (np.float32(1), 1.0)]
)
def test_exponents(given: Any, p: float) -> None:
    assert parse_exponent(given) == p


@pytest.mark.parametrize("given", ["2", True, None, 0.5, math.nan, [1, 2]])
def test_wrong_exponents(given: Any) -> None:
    with pytest.raises(PerturbationError, match="norm must be"):
        parse_exponent(given)
    with pytest.raises(PerturbationError, match=r"math\.inf for L∞"):
        parse_exponent("inf")


def test_limits() -> None:
    assert parse_limit("eps", None) is None and parse_limit("eps", np.float64(0.5)) == 0.5
    listed = parse_limit("eps", [1, 2])
    assert isinstance(listed, torch.Tensor) and listed.dtype == torch.get_default_dtype()
    kept = torch.ones(2, dtype=torch.float64)
    assert parse_limit("eps", kept) is kept
    for wrong in ("1", True, object(), torch.ones(2, dtype=torch.bool), torch.ones(2, dtype=torch.complex64)):
        with pytest.raises(PerturbationError, match="x_L must be"):
            parse_limit("x_L", wrong)


def test_boxes_are_ordered() -> None:
    require_ordered(torch.zeros(2), torch.ones(1))
    with pytest.raises(PerturbationError, match=r"at 1 elements: the first has x_L = 2, x_U = 1"):
        require_ordered(torch.tensor([0.0, 2.0]), torch.ones(2))
    with pytest.raises(PerturbationError, match="do not fit each other"):
        require_ordered(torch.zeros(2), torch.zeros(3))


def test_broadcasting_that_does_not_enlarge() -> None:
    x = torch.zeros(2, 3)
    assert all(broadcasts(torch.zeros(s), x) for s in ((), (1,), (3,), (2, 1), (2, 3)))
    assert not any(broadcasts(torch.zeros(s), x) for s in ((2,), (1, 2, 3), (4, 3)))
    assert show(0.5) == "0.5" and show(torch.tensor(2.0)) == "2"
