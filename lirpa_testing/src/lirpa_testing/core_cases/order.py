"""Order statistics: sorted values, the largest few, the k-th smallest, medians."""

from __future__ import annotations

from typing import Any

import torch

from lirpa_core.rules import Call
from lirpa_testing.conformance.declarations import ConformanceCases
from lirpa_testing.core_cases.values import X

aten = torch.ops.aten

#: Operator, arguments, and which of its outputs.
CASES: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any], int | None]] = {
    "sort": (aten.sort.default, (X(5),), {}, 0),
    "sort down": (aten.sort.default, (X(2, 3), 0, True), {}, 0),
    "sort middle": (aten.sort.default, (X(2, 3, 2), 1), {}, 0),
    "sort stable": (aten.sort.stable, (X(4),), {"stable": True, "descending": True}, 0),
    "sort number": (aten.sort.default, (X(),), {}, 0),
    "topk": (aten.topk.default, (X(2, 5), 2), {}, 0),
    "topk smallest": (aten.topk.default, (X(5, 2), 3, 0, False), {}, 0),
    "kthvalue": (aten.kthvalue.default, (X(2, 4), 2), {}, 0),
    "kthvalue kept": (aten.kthvalue.default, (X(4, 2), 3, 0, True), {}, 0),
    "median of all": (aten.median.default, (X(2, 2),), {}, None),
    "median": (aten.median.dim, (X(2, 5), 1), {}, 0),
    "median kept": (aten.median.dim, (X(4, 2), 0, True), {}, 0),
    "nanmedian of all": (aten.nanmedian.default, (X(5),), {}, None),
    "nanmedian": (aten.nanmedian.dim, (X(2, 3), 1), {}, 0),
}


def call(name: str) -> Call:
    """The call of an entry of `CASES`."""
    op, args, kwargs, output = CASES[name]
    return Call.of(op, *args, output=output, **kwargs)


def declare(cases: ConformanceCases) -> None:
    """Declare every call."""
    for name in CASES:
        cases.add(name, call(name))
