"""Maxima and minima of two operands and along dimensions, and logsumexp."""

from __future__ import annotations

from typing import Any

import torch

from lirpa_core.rules import Call, Const
from lirpa_testing.conformance.declarations import ConformanceCases
from lirpa_testing.core_cases.values import BATCH, C, X

aten = torch.ops.aten

PAIRS: dict[str, tuple[Any, ...]] = {
    "both": (X(2, 2), X(2, 2)),
    "broadcast": (X(2, 1), X(3)),
    "constant": (X(2, 3), C(3)),
    "constant first": (C(2, 3), X(3)),
    "batched constant": (X(3), Const(C(3, 2, 3), batched=True)),
    "number": (X(3), torch.tensor(0.5).double()),
}
ALONG: dict[str, tuple[Any, ...]] = {
    "all": ((X(5),), {"values": "default"}),
    "dim": ((X(2, 4), 1), {"values": "dim"}),
    "dim kept": ((X(3, 2), 0, True), {"values": "dim"}),
    "dims": ((X(2, 2, 2), [0, -1]), {"values": "amax"}),
    "no dims": ((X(4), []), {"values": "amax"}),
    "number": ((X(),), {"values": "default"}),
}
OPS: dict[tuple[str, str], Any] = {
    ("max", "default"): aten.max.default,
    ("max", "dim"): aten.max.dim,
    ("max", "amax"): aten.amax.default,
    ("min", "default"): aten.min.default,
    ("min", "dim"): aten.min.dim,
    ("min", "amax"): aten.amin.default,
}
LSE: dict[str, tuple[Any, ...]] = {
    "one": (X(4), [0]),
    "kept": (X(2, 3), [-1], True),
    "two": (X(2, 2, 2), [0, 2]),
    "number": (X(), []),
}


def along(which: str, name: str) -> Call:
    """The call of an entry of `ALONG`."""
    args, kind = ALONG[name]
    op: Any = OPS[which, kind["values"]]
    return Call.of(op, *args, output=0 if kind["values"] == "dim" else None)


def declare(cases: ConformanceCases) -> None:
    """Declare every call."""
    for op in (aten.maximum.default, aten.minimum.default, aten.fmax.default, aten.fmin.default):
        for name, operands in PAIRS.items():
            cases.add(name, Call.of(op, *operands, batch=BATCH))
    for which in ("max", "min"):
        for name in ALONG:
            cases.add(name, along(which, name))
    for name, args in LSE.items():
        cases.add(name, Call.of(aten.logsumexp.default, *args))
