"""`check_coefficients` passes the core's structures and catches every wrong one."""

from __future__ import annotations

import pytest
import torch
import wrong

from lirpa_core.linear.coefficients import Coefficients, DenseCoefficients, SelectedRows
from lirpa_testing import CoefficientsViolation, check_coefficients


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def index(*shape: int) -> torch.Tensor:
    return torch.randint(6, shape, generator=torch.Generator().manual_seed(0))


STRUCTURES: dict[str, Coefficients] = {
    "dense": DenseCoefficients(randn(4, 3, 2, 1, 3)),
    "dense shared": DenseCoefficients(randn(4, 1, 6)),
    "identity": SelectedRows.identity((2, 3), dtype=torch.float64, device="cpu"),
    "selected": SelectedRows.select(index(4, 3), (1, 2, 3), dtype=torch.float64),
    "selected, scaled": SelectedRows(index(4, 3), randn(4, 3), (2, 3)),
    "selected, scale shared": SelectedRows(index(4, 3), randn(4, 1), (2, 3)),
    "selected, index shared": SelectedRows(index(4, 1), randn(4, 3), (6,)),
    "dense, scalar value": DenseCoefficients(randn(4, 3)),
    "selected, scalar value": SelectedRows(0 * index(4, 1), randn(4, 3), ()),
    "base class": wrong.structures.Wrong(randn(4, 3, 2, 3)),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_core_structures_pass(name: str) -> None:
    check_coefficients(STRUCTURES[name])


@pytest.mark.parametrize("name", wrong.MAPS)
def test_wrong_structures_are_caught(name: str) -> None:
    structure, says = wrong.MAPS[name]
    with pytest.raises(CoefficientsViolation, match=says) as caught:
        check_coefficients(structure(randn(4, 3, 2, 3)))
    assert structure.__name__ in str(caught.value)
