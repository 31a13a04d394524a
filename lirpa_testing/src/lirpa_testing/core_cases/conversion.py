"""Conversions between element types, and values that are off by an error."""

from __future__ import annotations

import torch

from lirpa_core.rules import Call
from lirpa_testing.conformance.declarations import ConformanceCases
from lirpa_testing.core_cases.values import X

aten = torch.ops.aten


def declare(cases: ConformanceCases) -> None:
    """Declare every call."""
    cases.add("same type", Call.of(aten._to_copy.default, X(3)))
    for dtype in (torch.bfloat16, torch.float16, torch.float32):  # float8 stops at numbers that the kit tries
        largest = torch.finfo(dtype).max / 2  # a quick profile might draw nothing but boxes beyond float16
        cases.add(
            f"to {dtype}", Call.of(aten._to_copy.default, X(3), dtype=dtype), domain=(-largest, largest)
        )
    cases.add("to whole numbers", Call.of(aten._to_copy.default, X(3), dtype=torch.int32))
    cases.add("to a mask", Call.of(aten._to_copy.default, X(3), dtype=torch.bool))
    nothing = torch.zeros(3, dtype=torch.float64)
    cases.add("executed exactly", Call.of(torch.ops.lirpa.as_executed.default, X(3), nothing, [nothing]))
