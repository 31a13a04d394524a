"""Conversions between element types."""

from __future__ import annotations

import torch

from lirpa_core.operators.conformance.values import X
from lirpa_core.plugins import ConformanceCases
from lirpa_core.rules.call import Call

aten = torch.ops.aten


def declare(cases: ConformanceCases) -> None:
    """Declare every call."""
    cases.add("same type", Call.of(aten._to_copy.default, X(3)))
    for dtype in (torch.bfloat16, torch.float16, torch.float32):  # float8 stops at numbers that the kit tries
        cases.add(f"to {dtype}", Call.of(aten._to_copy.default, X(3), dtype=dtype))
    cases.add("to whole numbers", Call.of(aten._to_copy.default, X(3), dtype=torch.int32))
    cases.add("to a mask", Call.of(aten._to_copy.default, X(3), dtype=torch.bool))
