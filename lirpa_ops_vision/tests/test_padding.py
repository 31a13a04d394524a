"""Borders in every mode are exact, also for selected rows."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lirpa_core.linear.coefficients import SelectedRows
from lirpa_core.rules.call import Call, Operand
from lirpa_ops_vision.conformance import BORDERS
from lirpa_ops_vision.padding import PAD, pad_rows


def padded(image: tuple[int, ...], pad: list[int], mode: str, value: float | None) -> Call:
    return Call.of(torch.ops.aten.pad.default, Operand(image), pad, mode, value)


@pytest.mark.parametrize(("image", "pad", "mode", "value"), BORDERS.values())
def test_selected_rows(image: Any, pad: list[int], mode: str, value: float | None) -> None:
    call = padded(image, pad, mode, value)
    rows = SelectedRows.identity(call.shape, dtype=torch.float64, device="cpu")
    op = PAD.relax(call, (None,)).lower.terms[0]
    assert op is not None
    pulled = pad_rows(op, rows)
    assert pulled is not None
    torch.testing.assert_close(pulled.to_dense(), op.transpose(rows.to_dense()))
