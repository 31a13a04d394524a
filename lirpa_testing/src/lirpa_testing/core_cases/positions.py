"""Positions that are perturbed: where elements are in an order, and what is looked up or written there."""

from __future__ import annotations

from typing import Any

import torch

from lirpa_core.rules import Call, Operand
from lirpa_testing.conformance.declarations import ConformanceCases
from lirpa_testing.core_cases.values import BATCH, C, X, each
from lirpa_testing.rules.domains import ANYWHERE

aten, lirpa = torch.ops.aten, torch.ops.lirpa


def W(*sizes: int) -> Operand:  # noqa: N802
    """A perturbed position."""
    return Operand(sizes, torch.int64)


#: Operator, arguments, and which of its outputs is a position.
ORDERED: dict[str, tuple[Any, tuple[Any, ...], int | None]] = {
    "sort": (aten.sort.default, (X(2, 3), 0, True), 1),
    "topk": (aten.topk.default, (X(2, 4), 2), 1),
    "kthvalue": (aten.kthvalue.default, (X(4), 2, 0, True), 1),
    "median": (aten.median.dim, (X(2, 3), 1), 1),
    "max": (aten.max.dim, (X(3, 2), 0, True), 1),
    "min": (aten.min.dim, (X(2, 3), 1), 1),
    "argmax": (aten.argmax.default, (X(2, 3), 1), None),
    "argmax of all": (aten.argmax.default, (X(2, 2),), None),
    "argmin": (aten.argmin.default, (X(2, 3), 0, True), None),
}

#: Operator, arguments and how many elements there are, one number for each perturbed operand; none for values.
LOOKED_UP: dict[str, tuple[Any, tuple[Any, ...], tuple[int | None, ...]]] = {
    "gather": (aten.gather.default, (X(2, 3), 1, W(2, 2)), (None, 3)),
    "gather part": (aten.gather.default, (X(3, 2), 0, W(2, 1)), (None, 3)),
    "gather of a constant": (aten.gather.default, (C(2, 3), 1, W(2, 1)), (3,)),
    "gather of each": (aten.gather.default, (each([1.0, 2.0], [3.0, -1.0], [0.0, 0.5]), 0, W(1)), (2,)),
    "index_select": (aten.index_select.default, (X(2, 3), 1, W(2)), (None, 3)),
    "index": (aten.index.Tensor, (X(3, 2), [W(2)]), (None, 3)),
    "table": (aten.index.Tensor, (C(3), [W(2, 2)]), (3,)),
    "index with a constant": (aten.index.Tensor, (X(2, 3), [torch.tensor([0, 1]), W(2)]), (None, 3)),
    "two indices": (aten.index.Tensor, (X(2, 3), [W(2), W(1)]), (None, 2, 3)),
    "last index": (aten.index.Tensor, (X(2, 3), [None, W(1)]), (None, 3)),
    "scatter": (aten.scatter.src, (X(2, 3), 1, W(2, 2), X(2, 2)), (None, 3, None)),
    "scatter into a constant": (aten.scatter.src, (C(2, 3), 0, W(1, 3), X(1, 3)), (2, None)),
    "scatter number": (aten.scatter.value, (X(2, 3), 1, W(2, 1), 0.5), (None, 3)),
}

#: Which of equal elements comes first PyTorch leaves open: at a point with some there are several answers.
_TIES = ("degenerate",)


def declare(cases: ConformanceCases) -> None:
    """Declare every call."""
    for name, (op, args, output) in ORDERED.items():
        cases.add(f"position, {name}", Call.of(op, *args, output=output), without=_TIES)
    for name, (op, args, counts) in LOOKED_UP.items():
        call = Call.of(op, *args, batch=BATCH)
        domains = [ANYWHERE if n is None else (0.0, n - 1.0) for n in counts]
        without = _TIES if name == "scatter" else ()  # two elements may be written to one place
        cases.add(f"perturbed position, {name}", call, domain=domains, without=without)
    for name, call in (
        ("largest", Call.of(lirpa.among_topk.default, X(2, 4), 2, 1, True)),
        ("smallest", Call.of(lirpa.among_topk.default, X(3, 2), 1, 0, False)),
    ):
        cases.add(name, call, without=_TIES)
    for name, call in (
        ("sparsemax", Call.of(lirpa.sparsemax.default, X(4), -1)),
        ("sparsemax of columns", Call.of(lirpa.sparsemax.default, X(3, 2), 0)),
    ):
        cases.add(name, call)
