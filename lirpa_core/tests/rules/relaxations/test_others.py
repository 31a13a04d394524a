"""Sums of all but one, against fractions: no sum may lose what is far below the largest element."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from lirpa_core.rules.relaxations import sum_of_others


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [0, 3, 12, 30])
def test_against_fractions(dtype, scale) -> None:
    generator = torch.Generator().manual_seed(scale)
    x = torch.rand(5, 2, 7, generator=generator, dtype=torch.float64)
    x = (x * 10 ** (scale * torch.rand(5, 2, 7, generator=generator, dtype=torch.float64))).to(dtype)
    found = sum_of_others(x, [-2, -1])
    for vector, sums in zip(x.flatten(1).tolist(), found.flatten(1).tolist(), strict=True):
        total = sum(Fraction(v) for v in vector)
        for v, s in zip(vector, sums, strict=True):
            wanted = total - Fraction(v)
            assert abs(Fraction(s) - wanted) <= 2 * len(vector) * Fraction(torch.finfo(dtype).eps) * wanted


def test_ties_and_zeros() -> None:
    x = torch.tensor([[3.0, 3.0, 0.0], [0.0, 0.0, 0.0]])
    assert sum_of_others(x, [-1]).tolist() == [[3.0, 3.0, 6.0], [0.0, 0.0, 0.0]]
    assert sum_of_others(x.mT, [-2]).mT.tolist() == sum_of_others(x, [-1]).tolist()
