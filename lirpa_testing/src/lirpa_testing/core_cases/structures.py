"""Structures of coefficients that the core knows."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from lirpa_core.graph import Shape
from lirpa_core.linear.coefficients import (
    Coefficients,
    DenseCoefficients,
    PositionwiseCoefficients,
    SelectedRows,
)
from lirpa_testing.conformance.declarations import ConformanceCases

_ROWS, _BATCH = 4, 3
_SHAPES: tuple[Shape, ...] = ((2, 3), (1, 2, 3), (6,), ())


def _randn(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(math.prod(shape))
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def _index(batch: int, shape: Shape) -> torch.Tensor:
    generator = torch.Generator().manual_seed(batch)
    return torch.randint(max(1, math.prod(shape)), (_ROWS, batch), generator=generator)


def _selected(batch: int, scales: tuple[int, int]) -> Callable[[Shape], Coefficients | None]:
    def make(shape: Shape) -> Coefficients | None:
        return SelectedRows(_index(batch, shape), _randn(*scales), shape) if math.prod(shape) else None

    return make


def _positionwise(batch: int, factors: int | None, kept: slice) -> Callable[[Shape], Coefficients | None]:
    outputs = 2

    def make(shape: Shape) -> Coefficients | None:
        if math.prod(shape) == 0 or not shape:
            return None
        positions = torch.arange(math.prod(shape[:-1]))[kept]
        images = (len(positions), outputs)
        rows = SelectedRows(_index(batch, images), _randn(_ROWS, 1), images)
        factor = None if factors is None else _randn(factors, len(positions), shape[-1])
        return PositionwiseCoefficients(rows, _randn(outputs, shape[-1]), positions, factor, shape)

    return make


def declare(cases: ConformanceCases) -> None:
    """Declare dense coefficients, selected rows, and rows of a matrix at positions."""
    cases.coefficients(
        "of each example",
        DenseCoefficients,
        lambda s: DenseCoefficients(_randn(_ROWS, _BATCH, *s)),
        shapes=_SHAPES,
    )
    cases.coefficients(
        "shared", DenseCoefficients, lambda s: DenseCoefficients(_randn(_ROWS, 1, *s)), shapes=_SHAPES
    )
    for name, batch, scales in (
        ("shared", 1, (1, 1)),
        ("of each example", _BATCH, (1, 1)),
        ("scaled", _BATCH, (_ROWS, _BATCH)),
        ("shared, scaled", 1, (_ROWS, 1)),
        ("index shared", 1, (_ROWS, _BATCH)),
        ("scale shared", _BATCH, (_ROWS, 1)),
    ):
        cases.coefficients(name, SelectedRows, _selected(batch, scales), shapes=_SHAPES)
    for name, batch, factors, kept in (
        ("shared", 1, None, slice(None)),
        ("of each example", _BATCH, None, slice(None)),
        ("last position", 1, None, slice(-1, None)),
        ("scaled", 1, 1, slice(None)),
        ("scaled in each example", _BATCH, _BATCH, slice(-1, None)),
    ):
        cases.coefficients(
            name, PositionwiseCoefficients, _positionwise(batch, factors, kept), shapes=_SHAPES
        )
    cases.coefficients(
        "identity",
        SelectedRows,
        lambda s: SelectedRows.identity(s, dtype=torch.float64, device="cpu") if math.prod(s) else None,
        shapes=_SHAPES,
    )
