"""Look-ups at constant positions, flips, tiles and borders."""

from __future__ import annotations

from typing import Any

import torch

from lirpa_core.rules import Call
from lirpa_testing.conformance.declarations import ConformanceCases
from lirpa_testing.core_cases.values import BATCH, I, X, each

aten = torch.ops.aten

CASES: dict[str, tuple[Any, ...]] = {
    "index": (aten.index.Tensor, X(2, 4), [None, I(0, 2, 2)]),
    "index two": (aten.index.Tensor, X(2, 4), [I(0, 1), I(3, -1)]),
    "index matrix": (aten.index.Tensor, X(4), [I([0, 1], [2, 2])]),
    "index mask": (aten.index.Tensor, X(2, 4), [None, I(True, False, True, True)]),
    "index batched": (aten.index.Tensor, X(2, 4), [None, each([0, 2], [1, 1], [3, 0])]),
    "index half batched": (aten.index.Tensor, X(2, 4), [I(0, 1), each([0, 2], [1, 1], [3, 0])]),
    "index_select": (aten.index_select.default, X(2, 4), -1, I(1, 1, 3)),
    "index_select batched": (aten.index_select.default, X(2, 4), 1, each([1, 1], [0, 3], [2, 1])),
    "gather": (aten.gather.default, X(2, 4), 1, I([0, 1, 1], [3, 2, 0])),
    "gather part": (aten.gather.default, X(3, 2), 0, I([0], [2], [1])),
    "gather batched": (aten.gather.default, X(1, 4), 1, each([[0, 1]], [[3, 3]], [[2, 0]])),
    "unfold": (aten.unfold.default, X(2, 5), 1, 3, 1),
    "diagonal": (aten.diagonal.default, X(2, 3, 4), 1, -2, -1),
    "diagonal first": (aten.diagonal.default, X(3, 3)),
    "flip": (aten.flip.default, X(2, 3), [0, -1]),
    "flip nothing": (aten.flip.default, X(2, 3), []),
    "repeat": (aten.repeat.default, X(2, 3), [2, 1, 3]),
    "repeat once": (aten.repeat.default, X(2), [1]),
    "repeat number": (aten.repeat.default, X(), [2, 2]),
    "pad": (aten.constant_pad_nd.default, X(2, 3), [1, 2, 0, 1]),
    "pad with a value": (aten.constant_pad_nd.default, X(2, 3), [1, 0], 2.5),
    "crop": (aten.constant_pad_nd.default, X(2, 4), [-1, 1], -1.0),
}


def declare(cases: ConformanceCases) -> None:
    """Declare every call."""
    for name, (op, *args) in CASES.items():
        cases.add(name, Call.of(op, *args, batch=BATCH))
