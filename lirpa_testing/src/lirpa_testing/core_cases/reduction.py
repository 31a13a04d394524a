"""Sums, means and cumulative sums."""

from __future__ import annotations

from typing import Any

import torch

from lirpa_core.rules import Call
from lirpa_testing.conformance.declarations import ConformanceCases
from lirpa_testing.core_cases.values import X

aten = torch.ops.aten

AFFINE: dict[str, tuple[Any, ...]] = {
    "sum": (aten.sum.default, X(2, 3)),
    "sum of a number": (aten.sum.default, X()),
    "sum dim": (aten.sum.dim_IntList, X(2, 3, 2), [1]),
    "sum dims": (aten.sum.dim_IntList, X(2, 3, 2), [-1, 0], True),
    "sum no dims": (aten.sum.dim_IntList, X(2, 3), [], True),
    "sum None": (aten.sum.dim_IntList, X(2, 3), None),
    "mean": (aten.mean.default, X(2, 3)),
    "mean dim": (aten.mean.dim, X(2, 3, 2), [1]),
    "mean dims": (aten.mean.dim, X(2, 3, 2), [-1, 0], True),
    "mean None": (aten.mean.dim, X(2, 3), None),
    "cumsum": (aten.cumsum.default, X(2, 4), 1),
    "cumsum negative": (aten.cumsum.default, X(3, 2), -2),
    "cumsum of a number": (aten.cumsum.default, X(), 0),
}


def declare(cases: ConformanceCases) -> None:
    """Declare every call."""
    for name, (op, *args) in AFFINE.items():
        cases.add(name, Call.of(op, *args))
