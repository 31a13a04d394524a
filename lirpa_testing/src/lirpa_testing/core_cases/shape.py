"""Views, permutations, slices, concatenations; operators with several outputs."""

from __future__ import annotations

from typing import Any

import torch

from lirpa_core.rules import Call
from lirpa_testing.conformance.declarations import ConformanceCases
from lirpa_testing.core_cases.values import BATCH, P, X

aten = torch.ops.aten
INT64_MAX = 2**63 - 1

CASES: dict[str, tuple[Any, ...]] = {
    "view of vectors": (aten.view.default, X(2, 2, 3), [-1, 3]),
    "reshape of vectors": (aten.reshape.default, X(2, 2, 3), [4, 3]),
    "unsafe_view of vectors": (aten._unsafe_view.default, X(4, 3), [2, 2, 3]),
    "flatten vectors": (aten.flatten.using_ints, X(2, 3, 2), 0, 1),
    "unflatten vectors": (aten.unflatten.int, X(4, 3), 0, [2, 2]),
    "view": (aten.view.default, X(2, 3), [3, -1]),
    "reshape to scalar": (aten.reshape.default, X(1, 1), []),
    "unsafe_view": (aten._unsafe_view.default, X(2, 3), [6]),
    "flatten": (aten.flatten.using_ints, X(2, 3, 2), 1, -1),
    "unflatten": (aten.unflatten.int, X(2, 6), -1, [2, 3]),
    "squeeze": (aten.squeeze.default, X(1, 3, 1)),
    "squeeze one": (aten.squeeze.dim, X(1, 3, 1), -1),
    "squeeze no-op": (aten.squeeze.dim, X(1, 3), 1),
    "squeeze dims": (aten.squeeze.dims, X(1, 3, 1), [0, -1]),
    "squeeze copy": (aten.squeeze_copy.default, X(1, 3, 1)),
    "squeeze copy one": (aten.squeeze_copy.dim, X(1, 3, 1), -1),
    "squeeze copy dims": (aten.squeeze_copy.dims, X(1, 3, 1), [0, -1]),
    "unsqueeze copy": (aten.unsqueeze_copy.default, X(2, 3), -2),
    "view copy": (aten.view_copy.default, X(2, 3), [3, -1]),
    "reshape copy": (aten._reshape_copy.default, X(2, 3), [3, -1]),
    "numpy_T": (aten.numpy_T.default, X(2, 3)),
    "unsqueeze": (aten.unsqueeze.default, X(2, 3), -2),
    "permute": (aten.permute.default, X(2, 3, 4), [-1, 0, 1]),
    "transpose": (aten.transpose.int, X(2, 3, 4), -1, 0),
    "t": (aten.t.default, X(2, 3)),
    "t vector": (aten.t.default, X(3)),
    "expand": (aten.expand.default, X(3, 1), [2, -1, 4]),
    "expand vectors": (aten.expand.default, X(2, 1, 3), [-1, 2, -1]),
    "expand copy": (aten.expand_copy.default, X(1, 3), [2, 3]),
    "slice": (aten.slice.Tensor, X(2, 5), 1, 1, 4),
    "slice open": (aten.slice.Tensor, X(2, 5), -1, 2, INT64_MAX),
    "slice negative": (aten.slice.Tensor, X(5, 2), 0, -4, -1),
    "slice step": (aten.slice.Tensor, X(2, 7), 1, 1, 6, 2),
    "slice None": (aten.slice.Tensor, X(2, 4), 1, None, None, 3),
    "select": (aten.select.int, X(2, 3, 4), 1, 2),
    "select negative": (aten.select.int, X(2, 3), -1, -2),
    "transpose vectors": (aten.transpose.int, X(2, 3, 4), 0, 1),
    "permute vectors": (aten.permute.default, X(2, 3, 4), [1, 0, 2]),
    "narrow vectors": (aten.narrow.default, X(5, 2), 0, 1, 3),
    "narrow": (aten.narrow.default, X(2, 5), 1, 1, 3),
    "narrow negative": (aten.narrow.default, X(2, 5), -1, -2, 2),
    "cat": (aten.cat.default, [X(2, 1), X(2, 3)], 1),
    "cat negative": (aten.cat.default, [X(1, 2), X(3, 2)], -2),
    "cat constant": (aten.cat.default, [torch.ones(2, 2), X(2, 3), torch.ones(2, 1)], -1),
    "cat integers": (aten.cat.default, [torch.ones(2, 2, dtype=torch.int64), X(2, 3)], 1),
    "cat empty": (aten.cat.default, [X(0), X(2, 3)], 0),
    "cat vectors": (aten.cat.default, [X(0), X(2), X(3)], 0),
    "cat twice": (aten.cat.default, [X(2, 2), torch.ones(2, 1), X(2, 2)], 1),
}

MANY: dict[str, tuple[Any, ...]] = {
    "split vectors": (aten.split.Tensor, X(5, 2), 2, 0),
    "chunk vectors": (aten.chunk.default, X(7, 2), 3, 0),
    "unbind vectors": (aten.unbind.int, X(3, 2), 0),
    "split_with_sizes, vectors": (aten.split_with_sizes.default, X(5, 2), [2, 3], 0),
    "split": (aten.split.Tensor, X(2, 5), 2, 1),
    "split sizes": (aten.split.sizes, X(5, 2), [1, 3, 1], 0),
    "split_with_sizes": (aten.split_with_sizes.default, X(2, 5), [2, 3], -1),
    "chunk": (aten.chunk.default, X(2, 7), 3, 1),
    "unbind": (aten.unbind.int, X(2, 3), -1),
}


def declare(cases: ConformanceCases) -> None:
    """Declare every call."""
    for name, (op, *args) in CASES.items():
        cases.add(name, Call.of(op, *(_double(a) for a in args)))
    for name, (op, x, *rest) in MANY.items():
        last = len(op(torch.zeros(x.shape), *rest)) - 1
        cases.add(f"{name}, first", Call.of(op, x, *rest, output=0))
        cases.add(f"{name}, last", Call.of(op, x, *rest, output=last))
    batched = Call.of(aten.cat.default, [X(2, 3), P(2, 2)], 1, batch=BATCH)
    cases.add("cat with a constant of each example", batched)


def _double(value: Any) -> Any:
    if isinstance(value, list):
        return [_double(v) for v in value]
    return value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value
