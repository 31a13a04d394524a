"""Cumulative maxima, minima, logsumexps and products."""

from __future__ import annotations

from typing import Any

import torch

from lirpa_core.rules import Call
from lirpa_testing.conformance.declarations import ConformanceCases
from lirpa_testing.core_cases.values import X

aten = torch.ops.aten

#: Operators by name, and which of their outputs is bounded.
OPS: dict[str, tuple[Any, int | None]] = {
    "cummax": (aten.cummax.default, 0),
    "cummin": (aten.cummin.default, 0),
    "logcumsumexp": (aten.logcumsumexp.default, None),
}
ARGS: dict[str, tuple[Any, ...]] = {
    "last dimension": (X(2, 4), 1),
    "first dimension": (X(3, 2), -2),
    "number": (X(), 0),
}


def accumulated(op: str, name: str) -> Call:
    """The call of an entry of `OPS` with the arguments of one of `ARGS`."""
    target, output = OPS[op]
    return Call.of(target, *ARGS[name], output=output)


def declare(cases: ConformanceCases) -> None:
    """Declare every call."""
    for op in OPS:
        for name in ARGS:
            cases.add(name, accumulated(op, name))
