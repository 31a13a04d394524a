"""Convolutions: exact linear operators in every geometry, perturbed weights, selected rows."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lirpa_core.plugins import default_registry
from lirpa_core.rules.bilinear import Bilinear
from lirpa_core.rules.call import Call, Operand
from lirpa_ops_vision.conformance import GEOMETRIES
from lirpa_ops_vision.conv import CONV, CONVOLUTIONS

aten = torch.ops.aten


def weights(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


def conv(
    image: tuple[int, ...], weight: tuple[int, ...], options: dict[str, Any], op: Any = aten.conv2d.default
) -> Call:
    return Call.of(op, Operand(image), weights(*weight), weights(weight[0]), **options)


@pytest.mark.parametrize(("image", "weight", "options"), GEOMETRIES.values())
def test_native_code_is_the_generic_code(
    image: tuple[int, ...], weight: tuple[int, ...], options: dict[str, Any]
) -> None:
    call = conv(image, weight, options)
    generic = Bilinear("input", "weight", ("bias",))
    ours, theirs = (rule.relax(call, (None,)).lower.terms[0] for rule in (CONV, generic))
    assert ours is not None
    assert theirs is not None
    x = torch.randn(3, 2, *image, dtype=torch.float64)
    A = torch.randn(3, 2, *call.shape, dtype=torch.float64)
    torch.testing.assert_close(ours.apply(x, 2), theirs.apply(x, 2))
    torch.testing.assert_close(ours.apply_abs(x.abs(), 2), theirs.apply_abs(x.abs(), 2))
    torch.testing.assert_close(ours.transpose(A), theirs.transpose(A))


def test_all_convolutions_are_registered() -> None:
    assert all(default_registry().rule_for(op) is CONV for op in CONVOLUTIONS)
