"""Interpolation in every mode is the operator itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lirpa_core.rules.call import Call, Operand
from lirpa_core.rules.linear import Linear
from lirpa_core.testing import check_rule
from lirpa_ops_vision.resize import Resize

aten = torch.ops.aten

CASES: list[tuple[Any, tuple[int, ...], tuple[Any, ...]]] = [
    (aten.upsample_nearest1d.vec, (1, 2, 3), (None, [2.0])),
    (aten.upsample_nearest2d.vec, (1, 2, 2, 3), (None, [2.0, 2.0])),
    (aten.upsample_nearest2d.vec, (1, 1, 4, 3), ([3, 5], None)),
    (aten.upsample_nearest3d.vec, (1, 1, 2, 1, 2), (None, [2.0, 2.0, 1.5])),
    (aten._upsample_nearest_exact2d.vec, (1, 1, 4, 3), ([3, 5], None)),
    (aten.upsample_linear1d.vec, (1, 1, 4), (None, False, [1.7])),
    (aten.upsample_bilinear2d.vec, (1, 1, 3, 2), ([5, 3], True, None)),
    (aten.upsample_bilinear2d.default, (1, 1, 3, 2), ([5, 3], False)),
    (aten.upsample_trilinear3d.vec, (1, 1, 2, 2, 2), ([3, 2, 3], False, None)),
    (aten.upsample_bicubic2d.vec, (1, 1, 3, 4), ([5, 3], False, None)),
    (aten.upsample_bicubic2d.vec, (1, 1, 4, 3), (None, True, [1.5, 2.0])),
    (aten._upsample_bilinear2d_aa.vec, (1, 1, 5, 4), ([2, 3], False, None)),
    (aten._upsample_bicubic2d_aa.default, (1, 1, 5, 4), ([3, 2], False)),
]


@pytest.mark.parametrize(("op", "image", "options"), CASES)
def test_resize(op: Any, image: tuple[int, ...], options: tuple[Any, ...]) -> None:
    name = "input" if op._overloadname == "vec" else "self"
    check_rule(Resize((name,)), Call.of(op, Operand(image), *options), examples=7)


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_sampling_on_a_constant_grid(mode: int) -> None:
    grid = torch.rand(1, 2, 3, 2, dtype=torch.float64) * 2.4 - 1.2
    call = Call.of(aten.grid_sampler_2d.default, Operand((1, 1, 3, 3)), grid, mode, 0, False)
    sign = None if mode == 2 else 1
    check_rule(Linear(("input",), sign=lambda call, slot: sign), call, examples=7)
