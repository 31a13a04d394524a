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
