"""A structure that knows only its meaning gets everything else by way of dense coefficients."""

from __future__ import annotations

import inspect

import torch
from torch import Tensor

from lirpa_core.linear.coefficients import Coefficients, DenseCoefficients, StructuredCoefficients
from lirpa_testing import check_coefficients


class Checkerboard(StructuredCoefficients):
    """One number, with alternating signs."""

    def __init__(self, number: Tensor, size: int) -> None:
        self.number, self.size = number, size

    rows = property(lambda self: self.number.shape[0])  # type: ignore[assignment]
    batch = property(lambda self: self.number.shape[1])  # type: ignore[assignment]
    shape = property(lambda self: (self.size,))  # type: ignore[assignment]

    def to_dense(self) -> Tensor:
        return self.number[..., None] * (-1.0) ** torch.arange(self.size)


def test_four_members_are_enough() -> None:
    check_coefficients(Checkerboard(torch.randn(4, 2, dtype=torch.float64), 6))


def test_every_default_is_the_dense_answer() -> None:
    mine = Checkerboard(torch.randn(4, 2, dtype=torch.float64), 6)
    assert isinstance(mine.negate(), DenseCoefficients)
    assert isinstance(mine.dense(), DenseCoefficients)


def test_only_the_meaning_is_left_to_a_structure() -> None:
    assert StructuredCoefficients.__abstractmethods__ == {"rows", "batch", "shape", "to_dense"}
    assert not inspect.isabstract(DenseCoefficients)
    assert inspect.isabstract(Coefficients)
