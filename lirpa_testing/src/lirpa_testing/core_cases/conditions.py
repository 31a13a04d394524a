"""`where`, and logic of masks."""

from __future__ import annotations

from typing import Any

import torch

from lirpa_core.rules import Call, Const
from lirpa_testing.conformance.declarations import ConformanceCases
from lirpa_testing.core_cases.values import BATCH, C, M, P, X

aten = torch.ops.aten

MASK = torch.tensor([True, False, True])

#: Operands of `where` with a constant condition.
CONSTANT: dict[str, tuple[Any, ...]] = {
    "both": (MASK, X(2, 3), X(2, 3)),
    "broadcast": (MASK, X(2, 1), X(3)),
    "condition larger": (MASK.expand(2, 3), X(3), X()),
    "constant": (MASK, X(2, 3), C(3)),
    "constant first": (MASK, C(2, 1), X(3)),
    "batched condition": (Const(C(BATCH, 2, 3) > 0, batched=True), X(2, 3), X(3)),
    "batched constant": (MASK, X(2, 3), P(3)),
    "integers": (MASK, X(2, 3), torch.tensor(2)),
}

#: Operands of `where` with a perturbed condition.
PERTURBED: dict[str, tuple[Any, ...]] = {
    "both": (M(2, 3), X(2, 3), X(3)),
    "constant": (M(3), X(2, 3), C(2, 1)),
    "constant first": (M(2, 3), C(3), X(1)),
    "constants": (M(2, 3), C(3), torch.tensor(1.0).double()),
}

LOGIC = (
    aten.logical_and.default, aten.logical_or.default, aten.logical_xor.default,
    aten.bitwise_and.Tensor, aten.bitwise_or.Tensor, aten.bitwise_xor.Tensor,
)  # fmt: skip


def declare(cases: ConformanceCases) -> None:
    """Declare every call."""
    for name, args in CONSTANT.items():
        cases.add(name, Call.of(aten.where.self, *args, batch=BATCH))
    for name, args in PERTURBED.items():
        cases.add(f"perturbed condition, {name}", Call.of(aten.where.self, *args))
    for op in LOGIC:
        cases.add("two masks", Call.of(op, M(2), M(1)))
        cases.add("known mask", Call.of(op, M(3), MASK))
    for op in (aten.logical_not.default, aten.bitwise_not.default):
        cases.add("mask", Call.of(op, M(3)))
    for packet in (aten.any, aten.all):
        cases.add("of all", Call.of(packet.default, M(2, 2)))
        cases.add("along one", Call.of(packet.dim, M(2, 3), 1))
        cases.add("kept", Call.of(packet.dims, M(2, 2, 2), [0, 2], True))
        cases.add("of numbers", Call.of(packet.dim, X(3), 0, True))
    for packet in (aten.isnan, aten.isinf, aten.isposinf, aten.isneginf, aten.isfinite):
        cases.add("numbers", Call.of(packet.default, X(3)))
