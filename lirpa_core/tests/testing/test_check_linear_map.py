"""`check_linear_map` passes the core's structures and catches every wrong one."""

from __future__ import annotations

import pytest
import torch
import wrong

from lirpa_core.bounds.linear_map import DenseMap, LinearMap, RowsMap
from lirpa_core.testing import LinearMapViolation, check_linear_map


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def index(*shape: int) -> torch.Tensor:
    return torch.randint(6, shape, generator=torch.Generator().manual_seed(0))


STRUCTURES: dict[str, LinearMap] = {
    "dense": DenseMap(randn(4, 3, 2, 1, 3)),
    "dense shared": DenseMap(randn(4, 1, 6)),
    "identity": RowsMap.identity((2, 3), dtype=torch.float64, device="cpu"),
    "selected": RowsMap.select(index(4, 3), (1, 2, 3), dtype=torch.float64),
    "selected, scaled": RowsMap(index(4, 3), randn(4, 3), (2, 3)),
    "selected, scale shared": RowsMap(index(4, 3), randn(4, 1), (2, 3)),
    "selected, index shared": RowsMap(index(4, 1), randn(4, 3), (6,)),
    "dense, scalar value": DenseMap(randn(4, 3)),
    "selected, scalar value": RowsMap(0 * index(4, 1), randn(4, 3), ()),
    "base class": wrong.structures.Wrong(randn(4, 3, 2, 3)),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_core_structures_pass(name: str) -> None:
    check_linear_map(STRUCTURES[name])


@pytest.mark.parametrize("name", wrong.MAPS)
def test_wrong_structures_are_caught(name: str) -> None:
    structure, says = wrong.MAPS[name]
    with pytest.raises(LinearMapViolation, match=says) as caught:
        check_linear_map(structure(randn(4, 3, 2, 3)))
    assert structure.__name__ in str(caught.value)
