"""Structures of coefficients that the core knows."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from lirpa_core.bounds.linear_map import DenseMap, LinearMap, PositionwiseMap, RowsMap
from lirpa_core.capture.graph import Shape
from lirpa_core.registry import ConformanceCases

_ROWS, _BATCH = 4, 3
_SHAPES: tuple[Shape, ...] = ((2, 3), (1, 2, 3), (6,), ())


def _randn(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(math.prod(shape))
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def _index(batch: int, shape: Shape) -> torch.Tensor:
    generator = torch.Generator().manual_seed(batch)
    return torch.randint(max(1, math.prod(shape)), (_ROWS, batch), generator=generator)


def _selected(batch: int, scales: tuple[int, int]) -> Callable[[Shape], LinearMap | None]:
    def make(shape: Shape) -> LinearMap | None:
        return RowsMap(_index(batch, shape), _randn(*scales), shape) if math.prod(shape) else None

    return make


def _positionwise(batch: int, factors: int | None, kept: slice) -> Callable[[Shape], LinearMap | None]:
    outputs = 2

    def make(shape: Shape) -> LinearMap | None:
        if math.prod(shape) == 0 or not shape:
            return None
        positions = torch.arange(math.prod(shape[:-1]))[kept]
        images = (len(positions), outputs)
        rows = RowsMap(_index(batch, images), _randn(_ROWS, 1), images)
        factor = None if factors is None else _randn(factors, len(positions), shape[-1])
        return PositionwiseMap(rows, _randn(outputs, shape[-1]), positions, factor, shape)

    return make


def declare(cases: ConformanceCases) -> None:
    """Declare dense coefficients, selected rows, and rows of a matrix at positions."""
    cases.linear_map(
        "of each example", DenseMap, lambda s: DenseMap(_randn(_ROWS, _BATCH, *s)), shapes=_SHAPES
    )
    cases.linear_map("shared", DenseMap, lambda s: DenseMap(_randn(_ROWS, 1, *s)), shapes=_SHAPES)
    for name, batch, scales in (
        ("shared", 1, (1, 1)),
        ("of each example", _BATCH, (1, 1)),
        ("scaled", _BATCH, (_ROWS, _BATCH)),
        ("shared, scaled", 1, (_ROWS, 1)),
        ("index shared", 1, (_ROWS, _BATCH)),
        ("scale shared", _BATCH, (_ROWS, 1)),
    ):
        cases.linear_map(name, RowsMap, _selected(batch, scales), shapes=_SHAPES)
    for name, batch, factors, kept in (
        ("shared", 1, None, slice(None)),
        ("of each example", _BATCH, None, slice(None)),
        ("last position", 1, None, slice(-1, None)),
        ("scaled", 1, 1, slice(None)),
        ("scaled in each example", _BATCH, _BATCH, slice(-1, None)),
    ):
        cases.linear_map(name, PositionwiseMap, _positionwise(batch, factors, kept), shapes=_SHAPES)
    cases.linear_map(
        "identity",
        RowsMap,
        lambda s: RowsMap.identity(s, dtype=torch.float64, device="cpu") if math.prod(s) else None,
        shapes=_SHAPES,
    )
