"""Matrix products in every rank, layout and combination of constant and perturbed operands."""

from __future__ import annotations

from typing import Any

import torch

from lirpa_core.rules import Call
from lirpa_testing.conformance.declarations import ConformanceCases
from lirpa_testing.core_cases.values import BATCH, C, P, X

aten = torch.ops.aten

AFFINE: dict[str, tuple[Any, ...]] = {
    "linear": (aten.linear.default, X(1, 4), C(3, 4), C(3)),
    "linear without bias": (aten.linear.default, X(1, 4), C(3, 4), None),
    "linear tokens": (aten.linear.default, X(1, 2, 4), C(3, 4), C(3)),
    "linear vector": (aten.linear.default, X(4), C(3, 4), C(3)),
    "linear to scalar": (aten.linear.default, X(2, 4), C(4), None),
    "linear batched bias": (aten.linear.default, X(2, 4), C(3, 4), P(3)),
    "linear batched weight": (aten.linear.default, X(2, 4), P(3, 4), C(3)),
    "linear perturbed weight": (aten.linear.default, C(2, 4), X(3, 4), C(3)),
    "linear perturbed weight, batched input": (aten.linear.default, P(1, 4), X(3, 4), C(3)),
    "linear perturbed weight, tokens": (aten.linear.default, P(2, 2, 4), X(3, 4), None),
    "linear perturbed weight, vector input": (aten.linear.default, P(4), X(3, 4), None),
    "linear perturbed vector of weights": (aten.linear.default, P(2, 4), X(4), None),
    "linear perturbed bias": (aten.linear.default, P(2, 4), C(3, 4), X(3)),
    "linear perturbed input and bias": (aten.linear.default, X(2, 4), C(3, 4), X(3)),
    "linear perturbed weight and bias": (aten.linear.default, P(2, 4), X(3, 4), X(3)),
    "mm left": (aten.mm.default, X(2, 3), C(3, 4)),
    "mm right": (aten.mm.default, C(2, 3), X(3, 4)),
    "mm batched": (aten.mm.default, X(2, 3), P(3, 4)),
    "mm batched left": (aten.mm.default, P(2, 3), X(3, 4)),
    "bmm": (aten.bmm.default, X(2, 2, 3), C(2, 3, 4)),
    "bmm batched": (aten.bmm.default, P(2, 2, 3), X(2, 3, 4)),
    "matmul matrices": (aten.matmul.default, X(2, 3), C(3, 4)),
    "matmul higher weight": (aten.matmul.default, X(2, 3), C(2, 2, 3, 4)),
    "matmul higher weight batched": (aten.matmul.default, X(2, 3), P(2, 3, 4)),
    "matmul higher operand": (aten.matmul.default, X(2, 1, 2, 3), C(4, 3, 2)),
    "matmul higher operand batched": (aten.matmul.default, X(2, 1, 2, 3), P(4, 3, 2)),
    "matmul weight on the left": (aten.matmul.default, C(2, 2, 3), X(3, 4)),
    "matmul batched on the left": (aten.matmul.default, P(2, 2, 3), X(3, 4)),
    "matmul vector right": (aten.matmul.default, X(2, 2, 3), C(3)),
    "matmul vector right batched": (aten.matmul.default, X(2, 2, 3), P(3)),
    "matmul vector left": (aten.matmul.default, X(3), C(2, 3, 4)),
    "matmul vector left batched": (aten.matmul.default, X(3), P(2, 3, 4)),
    "matmul perturbed vector": (aten.matmul.default, C(2, 2, 3), X(3)),
    "matmul perturbed vector batched": (aten.matmul.default, P(2, 3), X(3)),
    "matmul integers": (aten.mul.Tensor, X(2, 3), torch.ones(3, dtype=torch.int64)),
    "matmul vectors": (aten.matmul.default, X(3), P(3)),
    "mv": (aten.mv.default, X(2, 3), C(3)),
    "mv vector": (aten.mv.default, P(2, 3), X(3)),
    "dot": (aten.dot.default, X(3), C(3)),
    "dot right": (aten.dot.default, P(3), X(3)),
}

PRODUCTS: dict[str, tuple[Any, ...]] = {
    "linear": (aten.linear.default, X(1, 2), X(2, 2), C(2)),
    "linear all": (aten.linear.default, X(1, 2), X(2, 2), X(2)),
    "linear no bias": (aten.linear.default, X(2, 2), X(2, 2), None),
    "mm": (aten.mm.default, X(2, 2), X(2, 2)),
    "bmm": (aten.bmm.default, X(2, 1, 2), X(2, 2, 1)),
    "matmul broadcast": (aten.matmul.default, X(2, 1, 2), X(2, 2)),
    "matmul vector": (aten.matmul.default, X(2, 2), X(2)),
    "mv": (aten.mv.default, X(2, 2), X(2)),
    "dot": (aten.dot.default, X(3), X(3)),
}


def declare(cases: ConformanceCases) -> None:
    """Declare every call."""
    for table in (AFFINE, PRODUCTS):
        for name, (op, *args) in table.items():
            cases.add(name if table is AFFINE else f"two factors, {name}", Call.of(op, *args, batch=BATCH))
