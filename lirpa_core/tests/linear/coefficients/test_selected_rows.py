"""Selected rows read one element each: their meaning, and that they stay selected where they can."""

from __future__ import annotations

import pytest
import torch

from lirpa_core.linear.coefficients import DenseCoefficients, SelectedRows
from lirpa_testing import check_coefficients

S = (2, 3)


def rows(index_batch: int, values: tuple[int, int]) -> SelectedRows:
    generator = torch.Generator().manual_seed(0)
    index = torch.randint(6, (4, index_batch), generator=generator)
    return SelectedRows(index, torch.randn(values, generator=generator, dtype=torch.float64), S)


@pytest.mark.parametrize("made", [rows(1, (4, 1)), rows(3, (4, 3)), rows(1, (4, 3)), rows(3, (1, 1))])
def test_the_kit_finds_nothing_wrong(made: SelectedRows) -> None:
    check_coefficients(made)
    assert made.reads_single_elements and not DenseCoefficients(made.to_dense()).reads_single_elements


def test_each_row_has_its_value_at_its_index() -> None:
    made = rows(3, (4, 3))
    dense = made.to_dense().flatten(2)
    assert int((dense != 0).sum()) == 12
    torch.testing.assert_close(dense.gather(2, made.index.unsqueeze(-1)).squeeze(-1), made.values)


def test_the_identity_reads_every_element() -> None:
    identity = SelectedRows.identity(S, dtype=torch.float64, device="cpu")
    x = torch.randn(3, *S, dtype=torch.float64)
    torch.testing.assert_close(identity.dot(x), x.flatten(1).T)


def test_they_stay_selected() -> None:
    made = rows(3, (4, 3))
    factor = torch.rand(3, *S, dtype=torch.float64)
    for found in (
        made.negate(),
        made.scale(factor),
        made.take(1, 3),
        made.with_negated(),
        made.relax(factor, -factor),
    ):
        assert isinstance(found, SelectedRows)
    assert made.numel < made.to_dense().numel()
