"""Conversions between element types."""

from __future__ import annotations

import torch

from lirpa_core.rules import Call
from lirpa_testing.conformance.declarations import ConformanceCases
from lirpa_testing.core_cases.values import X

aten = torch.ops.aten


def declare(cases: ConformanceCases) -> None:
    """Declare every call."""
    cases.add("same type", Call.of(aten._to_copy.default, X(3)))
