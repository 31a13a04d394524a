"""Convolutions: exact linear operators in every geometry, perturbed weights, selected rows."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lirpa_core.registry import default_registry
from lirpa_core.rules.bilinear import Bilinear
from lirpa_core.rules.call import Call, Operand
from lirpa_core.testing import check_rule
from lirpa_ops_vision.conv import CONV, CONVOLUTIONS

aten = torch.ops.aten


def weights(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


def conv(
    image: tuple[int, ...], weight: tuple[int, ...], options: dict[str, Any], op: Any = aten.conv2d.default
) -> Call:
    return Call.of(op, Operand(image), weights(*weight), weights(weight[0]), **options)


GEOMETRIES = [
    ((1, 1, 2, 2), (1, 1, 2, 2), {}),
    ((1, 2, 4, 4), (3, 2, 3, 3), {"padding": [1, 1]}),
    ((1, 2, 5, 4), (2, 2, 3, 2), {"stride": [2, 1], "padding": [1, 0]}),
    ((1, 2, 6, 5), (2, 2, 2, 2), {"stride": [3, 2]}),
    ((1, 1, 5, 6), (2, 1, 2, 3), {"dilation": [2, 2], "padding": [1, 2]}),
    ((1, 1, 7, 6), (1, 1, 2, 2), {"dilation": [3, 2], "stride": [2, 3], "padding": [2, 1]}),
    ((1, 4, 3, 3), (4, 2, 2, 2), {"groups": 2}),
    ((1, 3, 4, 3), (6, 1, 3, 3), {"groups": 3, "padding": [1, 1], "stride": [2, 2]}),
    ((2, 3, 3), (2, 2, 2, 2), {}),  # no batch dimension
    ((2, 1, 3, 3), (1, 1, 2, 2), {}),  # several images in one example
]


@pytest.mark.parametrize(("image", "weight", "options"), GEOMETRIES)
def test_two_dimensions(image: tuple[int, ...], weight: tuple[int, ...], options: dict[str, Any]) -> None:
    check_rule(CONV, conv(image, weight, options), examples=7)


@pytest.mark.parametrize(
    ("op", "image", "weight", "options"),
    [
        (aten.conv1d.default, (1, 2, 6), (3, 2, 3), {"stride": [2], "padding": [1]}),
        (aten.conv1d.padding, (1, 1, 5), (2, 1, 4), {"padding": "same", "dilation": [1]}),
        (aten.conv2d.padding, (1, 1, 4, 3), (1, 1, 2, 3), {"padding": "same"}),
        (aten.conv2d.padding, (1, 1, 5, 4), (1, 1, 2, 2), {"padding": "same", "dilation": [3, 1]}),
        (aten.conv2d.padding, (1, 1, 4, 3), (1, 1, 2, 3), {"padding": "valid", "stride": [2, 1]}),
        (aten.conv3d.default, (1, 1, 3, 3, 4), (2, 1, 2, 2, 2), {"stride": [1, 2, 1], "padding": [0, 1, 0]}),
        (aten.conv3d.padding, (1, 1, 2, 3, 2), (1, 1, 2, 2, 2), {"padding": "same"}),
    ],
)
def test_other_operators(
    op: Any, image: tuple[int, ...], weight: tuple[int, ...], options: dict[str, Any]
) -> None:
    check_rule(CONV, conv(image, weight, options, op), examples=7)


@pytest.mark.parametrize(
    ("op", "image", "weight", "options"),
    [
        (aten.conv_transpose1d.default, (1, 2, 4), (2, 1, 3), {"stride": [2], "output_padding": [1]}),
        (aten.conv_transpose2d.input, (1, 2, 3, 2), (2, 2, 2, 3), {"stride": [2, 2], "padding": [1, 1]}),
        (
            aten.conv_transpose2d.input,
            (1, 2, 2, 3),
            (2, 1, 2, 2),
            {"stride": [1, 2], "dilation": [3, 2], "output_padding": [2, 1], "groups": 2},
        ),
        (aten.conv_transpose3d.input, (1, 1, 2, 2, 2), (1, 1, 2, 2, 2), {"stride": [2, 1, 1]}),
    ],
)
def test_transposed(
    op: Any, image: tuple[int, ...], weight: tuple[int, ...], options: dict[str, Any]
) -> None:
    call = Call.of(op, Operand(image), weights(*weight), None, **options)
    check_rule(CONV, call, examples=7)


@pytest.mark.parametrize("transposed", [False, True])
def test_general_form(transposed: bool) -> None:
    call = Call.of(
        aten.convolution.default, Operand((1, 2, 4, 4)), weights(2, 2, 2, 2), None,
        [2, 2], [1, 1], [1, 1], transposed, [0, 0], 1,
    )  # fmt: skip
    check_rule(CONV, call, examples=7)


def test_perturbed_weight_and_bias() -> None:
    x = weights(1, 1, 3, 3)
    check_rule(CONV, Call.of(aten.conv2d.default, x, Operand((1, 1, 2, 2)), Operand((1,))), examples=7)


def test_perturbed_image_and_weight() -> None:
    call = Call.of(aten.conv2d.default, Operand((1, 1, 3, 3)), Operand((2, 1, 2, 2)), Operand((2,)))
    check_rule(CONV, call, examples=7)


@pytest.mark.parametrize(("image", "weight", "options"), GEOMETRIES)
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
