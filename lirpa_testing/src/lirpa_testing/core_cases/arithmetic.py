"""Sums and products: constants of every kind, broadcasting, both operands perturbed."""

from __future__ import annotations

from typing import Any

import torch

from lirpa_core.rules import Call
from lirpa_testing.conformance.declarations import ConformanceCases
from lirpa_testing.core_cases.values import BATCH, C, P, X

aten = torch.ops.aten

AFFINE: dict[str, tuple[Any, ...]] = {
    "add": (aten.add.Tensor, (X(2, 3), X(2, 3)), {}),
    "add broadcast": (aten.add.Tensor, (X(2, 1), X(4, 1, 3)), {}),
    "add lower rank": (aten.add.Tensor, (X(3), X(2, 3)), {"alpha": 2}),
    "add scalar operand": (aten.add.Tensor, (X(2, 3), X()), {"alpha": -0.5}),
    "add constant": (aten.add.Tensor, (X(2, 3), C(3)), {"alpha": -2}),
    "add larger constant": (aten.add.Tensor, (X(3), C(2, 3)), {}),
    "add to constant": (aten.add.Tensor, (C(2, 3), X(3)), {"alpha": -2}),
    "add batched": (aten.add.Tensor, (X(2, 3), P(3)), {"alpha": 3}),
    "add larger batched": (aten.add.Tensor, (X(3), P(2, 3)), {}),
    "add integers": (aten.add.Tensor, (X(2, 3), torch.tensor([1, 2, 3])), {}),
    "add mask": (aten.add.Tensor, (X(3), torch.tensor([True, False, True])), {}),
    "add number": (aten.add.Tensor, (X(2, 3), 2), {"alpha": 3}),
    "add.Scalar": (aten.add.Scalar, (X(2, 3), 2.5), {}),
    "sub": (aten.sub.Tensor, (X(2, 3), X(3)), {"alpha": 2}),
    "sub negative": (aten.sub.Tensor, (X(2, 3), X(3)), {"alpha": -2}),
    "sub from constant": (aten.sub.Tensor, (C(2, 3), X(3)), {}),
    "sub.Scalar": (aten.sub.Scalar, (X(3), 1.5), {}),
    "rsub": (aten.rsub.Tensor, (X(2, 3), X(3)), {"alpha": 2}),
    "rsub.Scalar": (aten.rsub.Scalar, (X(3), 1.5), {"alpha": -2}),
    "neg": (aten.neg.default, (X(2, 3),), {}),
    "add zero times": (aten.add.Tensor, (X(3), X(3)), {"alpha": 0}),
    "mul": (aten.mul.Tensor, (X(2, 3), C(2, 3)), {}),
    "mul broadcast": (aten.mul.Tensor, (X(2, 3), C(4, 1, 3)), {}),
    "mul smaller": (aten.mul.Tensor, (X(4, 2, 3), C(3)), {}),
    "mul constant first": (aten.mul.Tensor, (C(3), X(2, 1)), {}),
    "mul batched": (aten.mul.Tensor, (X(2, 3), P(3)), {}),
    "mul larger batched": (aten.mul.Tensor, (X(3), P(2, 3)), {}),
    "mul mask": (aten.mul.Tensor, (X(3), torch.tensor([True, False, True])), {}),
    "mul integers": (aten.mul.Tensor, (X(3), torch.tensor([-1, 0, 3])), {}),
    "mul number": (aten.mul.Tensor, (X(3), -2), {}),
    "mul.Scalar": (aten.mul.Scalar, (X(3), -2.5), {}),
}

PRODUCTS: dict[str, tuple[Any, ...]] = {
    "same shape": (X(2, 2), X(2, 2)),
    "broadcast": (X(2, 1), X(3)),
    "lower rank": (X(2), X(3, 2)),
    "scalar": (X(3), X()),
}


def declare(cases: ConformanceCases) -> None:
    """Declare every call."""
    for name, (op, args, kwargs) in AFFINE.items():
        cases.add(name, Call.of(op, *args, batch=BATCH, **kwargs))
    for name, operands in PRODUCTS.items():
        cases.add(f"two factors, {name}", Call.of(aten.mul.Tensor, *operands))
