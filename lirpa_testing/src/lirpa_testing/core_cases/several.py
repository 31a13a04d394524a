"""Functions of several operands, element by element, with one or more of them perturbed."""

from __future__ import annotations

import math
from typing import Any

import torch

from lirpa_core.rules import Call
from lirpa_testing.conformance.declarations import ConformanceCases
from lirpa_testing.core_cases.values import BATCH, C, P, X

aten = torch.ops.aten
inf = math.inf

COMPARISONS = ("gt", "ge", "lt", "le", "eq", "ne")

#: Operator, arguments, and where the boxes of all operands lie.
CASES: dict[str, tuple[Any, tuple[Any, ...], tuple[float, float]]] = {
    "clamp": (aten.clamp.Tensor, (X(2, 3), X(3), X(2, 1)), (-inf, inf)),
    "clamp from below": (aten.clamp.Tensor, (X(2, 3), X(3)), (-inf, inf)),
    "clamp a constant": (aten.clamp.Tensor, (C(3), X(3), X(3)), (-inf, inf)),
    "clamp, one limit constant": (aten.clamp.Tensor, (X(3), C(3), X(3)), (-inf, inf)),
    "clamp_min": (aten.clamp_min.Tensor, (X(3), X(3)), (-inf, inf)),
    "clamp_max": (aten.clamp_max.Tensor, (X(2, 3), X(1)), (-inf, inf)),
    "prelu": (aten._prelu_kernel.default, (X(2, 3), X(3)), (-inf, inf)),
    "prelu of a constant": (aten._prelu_kernel.default, (C(3), X(3)), (-inf, inf)),
    "pow": (aten.pow.Tensor_Tensor, (X(2, 3), X(3)), (0.1, 4.0)),
    "pow, exponent constant": (aten.pow.Tensor_Tensor, (X(3), C(3)), (0.1, 4.0)),
    "pow, base constant": (aten.pow.Tensor_Tensor, (C(3).abs() + 0.1, X(3)), (-4.0, 4.0)),
    "atan2": (aten.atan2.default, (X(2, 3), X(3)), (-5.0, 5.0)),
    "atan2 to the right": (aten.atan2.default, (X(3), torch.tensor(2.0).double()), (-inf, inf)),
    "atan2 to the left": (aten.atan2.default, (C(3), X(3)), (-5.0, 5.0)),
    "remainder": (aten.remainder.Tensor, (X(3), X(3)), (0.5, 9.0)),
    "remainder of a number": (aten.remainder.Scalar, (X(3), 1.5), (-20.0, 20.0)),
    "remainder, batched": (aten.remainder.Tensor, (X(3), P(3)), (-20.0, 20.0)),
    "fmod": (aten.fmod.Tensor, (X(3), X(3)), (0.5, 9.0)),
    "fmod of a number": (aten.fmod.Scalar, (X(3), -1.5), (-20.0, 20.0)),
    "floor_divide": (aten.floor_divide.default, (X(3), X(1)), (0.5, 9.0)),
    "floor_divide by a number": (aten.floor_divide.Scalar, (X(3), -1.5), (-20.0, 20.0)),
}


def declare(cases: ConformanceCases) -> None:
    """Declare every call."""
    for name in COMPARISONS:
        op = getattr(aten, name).Tensor
        cases.add("two operands", Call.of(op, X(2, 3), X(3)))
    for name, (op, args, domain) in CASES.items():
        # An angle at zero over a negative number may be −π, if the zero is a negative one: no point has one value there.
        without = ("degenerate",) if op is aten.atan2.default else ()
        cases.add(name, Call.of(op, *args, batch=BATCH), domain=domain, without=without)
