"""Writing into a tensor at constant positions."""

from __future__ import annotations

from typing import Any

import torch

from lirpa_core.rules import Call, Const
from lirpa_testing.conformance.declarations import ConformanceCases
from lirpa_testing.core_cases.values import BATCH, C, X

aten = torch.ops.aten

CASES: dict[str, tuple[Any, ...]] = {
    "scatter": (aten.scatter.src, X(2, 4), 1, torch.tensor([[0, 2], [3, 1]]), X(2, 2)),
    "scatter into constant": (aten.scatter.src, C(2, 4), 1, torch.tensor([[0, 2], [3, 1]]), X(2, 2)),
    "scatter batched": (
        aten.scatter.src,
        X(1, 4),
        1,
        Const(torch.tensor([[[0]], [[2]], [[3]]]), True),
        X(1, 1),
    ),
    "scatter number": (aten.scatter.value, X(2, 4), 1, torch.tensor([[0, 2], [3, 1]]), -1.5),
    "scatter_add": (aten.scatter_add.default, X(2, 4), 1, torch.tensor([[0, 0], [3, 1]]), X(2, 2)),
    "index_put": (aten.index_put.default, X(4, 2), [torch.tensor([0, 3])], X(2, 2)),
    "index_put add": (aten.index_put.default, X(4, 2), [torch.tensor([3, 3])], X(2, 2), True),
    "index_put into constant": (aten.index_put.default, C(4, 2), [torch.tensor([0, 3])], X(2, 2)),
}


def declare(cases: ConformanceCases) -> None:
    """Declare every call."""
    for name, (op, *args) in CASES.items():
        cases.add(name, Call.of(op, *args, batch=BATCH))
