"""`where`, and logic of masks."""

from __future__ import annotations

import torch

from lirpa_core.aten.conformance.values import BATCH, C, P, X
from lirpa_core.registry import ConformanceCases
from lirpa_core.rules.call import Call, Const

aten = torch.ops.aten

MASK = torch.tensor([True, False, True])

#: Operands of `where` with a constant condition.
CONSTANT = {
    "both": (MASK, X(2, 3), X(2, 3)),
    "broadcast": (MASK, X(2, 1), X(3)),
    "condition larger": (MASK.expand(2, 3), X(3), X()),
    "constant": (MASK, X(2, 3), C(3)),
    "constant first": (MASK, C(2, 1), X(3)),
    "batched condition": (Const(C(BATCH, 2, 3) > 0, batched=True), X(2, 3), X(3)),
    "batched constant": (MASK, X(2, 3), P(3)),
    "integers": (MASK, X(2, 3), torch.tensor(2)),
}


def declare(cases: ConformanceCases) -> None:
    """Declare every call."""
    for name, args in CONSTANT.items():
        cases.add(name, Call.of(aten.where.self, *args, batch=BATCH))
