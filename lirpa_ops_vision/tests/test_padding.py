"""Borders in every mode are exact, also for selected rows."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lirpa_core.bounds.linear_map import RowsMap
from lirpa_core.rules.call import Call, Operand
from lirpa_core.testing import check_rule
from lirpa_ops_vision.padding import PAD, pad_rows

CASES: list[tuple[tuple[int, ...], list[int], str, float | None]] = [
    ((1, 1, 3, 2), [1, 2, 0, 1], "constant", None),
    ((1, 1, 3, 2), [1, 2, 0, 1], "constant", 0.7),
    ((1, 2, 2, 2), [0, 1, 0, 0, 1, 0], "constant", -2.0),
    ((1, 1, 3, 4), [-1, 1, 0, -1], "constant", 0.5),
    ((1, 1, 3, 3), [1, 2, 2, 1], "reflect", None),
    ((1, 1, 4), [2, 1], "reflect", None),
    ((1, 1, 2, 3), [2, 1, 1, 3], "replicate", None),
    ((1, 1, 3, 3), [2, 1, 1, 3], "circular", None),
    ((1, 1, 2, 2, 2), [1, 1, 0, 1, 1, 0], "replicate", None),
]


def padded(image: tuple[int, ...], pad: list[int], mode: str, value: float | None) -> Call:
    return Call.of(torch.ops.aten.pad.default, Operand(image), pad, mode, value)


@pytest.mark.parametrize(("image", "pad", "mode", "value"), CASES)
def test_borders(image: Any, pad: list[int], mode: str, value: float | None) -> None:
    check_rule(PAD, padded(image, pad, mode, value), examples=7)


@pytest.mark.parametrize(("image", "pad", "mode", "value"), CASES)
def test_selected_rows(image: Any, pad: list[int], mode: str, value: float | None) -> None:
    call = padded(image, pad, mode, value)
    rows = RowsMap.identity(call.shape, dtype=torch.float64, device="cpu")
    op = PAD.relax(call, (None,)).lower.terms[0]
    assert op is not None
    pulled = pad_rows(op, rows)
    assert pulled is not None
    torch.testing.assert_close(pulled.to_dense(), op.transpose(rows.to_dense()))
