"""Patches through operators give what dense coefficients give."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lirpa_core.linear.coefficients import Coefficients, SelectedRows
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import LinearOp
from lirpa_core.plugins import default_registry
from lirpa_core.rules.call import Call, Operand
from lirpa_ops_vision.patches import PatchesCoefficients, Placement

aten = torch.ops.aten


def op_of(call: Call, slot: int = 0) -> LinearOp:
    rule = default_registry().rule_for(call.node.target)
    assert rule is not None
    op = rule.relax(call, (None,) * len(call.shapes)).lower.terms[slot]
    assert op is not None
    return op


def rows_over(shape: tuple[int, ...], batch: int) -> SelectedRows:
    count = torch.Size(shape).numel()
    index = torch.randint(count, (4, batch), generator=torch.Generator().manual_seed(count))
    return SelectedRows(index, torch.tensor([[1.0], [-2.0], [0.5], [1.0]], dtype=torch.float64), shape)


def patches_over(shape: tuple[int, ...], batch: int) -> PatchesCoefficients:
    """Windows of two by two, some of which overhang, with something else than zero outside."""
    size = (shape[-2], shape[-1])
    space = (size[0] + 1, size[1] + 1)
    anchor = torch.randint(space[0] * space[1], (3, batch), generator=torch.Generator().manual_seed(1))
    place = Placement(anchor, space, (1, 1), (-1, -1), (2, 2), size)
    return PatchesCoefficients(torch.randn(6, batch, shape[-3], 2, 2, dtype=torch.float64), place, shape)


def check(
    call: Call, A: Coefficients, slot: int = 0, *, expect: type[Coefficients] | None = PatchesCoefficients
) -> None:
    op = op_of(call, slot)
    kernel = default_registry().find_kernel(op.key, type(A))
    if kernel is None:
        assert expect is None
        return
    pulled = kernel(op, A)
    if expect is None:
        assert pulled is None
        return
    assert isinstance(pulled, expect)
    assert pulled.shape == op.in_shape
    torch.testing.assert_close(pulled.to_dense(), op.transpose(A.to_dense()))


CONVS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((1, 2, 9, 8), (3, 2, 3, 3), {"padding": [1, 1]}),
    ((1, 2, 9, 8), (2, 2, 2, 3), {"stride": [2, 3], "padding": [0, 2]}),
    ((1, 1, 12, 11), (2, 1, 2, 2), {"stride": [2, 1], "dilation": [3, 2], "padding": [2, 1]}),
    ((1, 4, 8, 8), (4, 2, 3, 1), {"groups": 2, "stride": [3, 1], "dilation": [1, 2]}),
    ((2, 7, 7), (2, 2, 2, 2), {}),
]


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(("image", "weight", "options"), CONVS)
def test_convolution(image: Any, weight: Any, options: dict[str, Any], batch: int) -> None:
    w = torch.randn(*weight, dtype=torch.float64)
    call = Call.of(aten.conv2d.default, Operand(image), w, None, batch=batch, **options)
    check(call, rows_over(call.shape, batch))
    check(call, patches_over(call.shape, batch))


def test_windows_as_large_as_the_image_go_dense() -> None:
    w = torch.randn(1, 1, 3, 3, dtype=torch.float64)
    call = Call.of(aten.conv2d.default, Operand((1, 1, 3, 3)), w, None, [1, 1], [1, 1])
    check(call, rows_over(call.shape, 1), expect=None)
    check(call, patches_over(call.shape, 1), expect=None)


def test_other_convolutions_go_dense() -> None:
    w = torch.randn(1, 1, 2, 2, dtype=torch.float64)
    transposed = Call.of(aten.conv_transpose2d.input, Operand((1, 1, 6, 6)), w)
    check(transposed, patches_over(transposed.shape, 1), expect=None)
    weights = Call.of(
        aten.conv2d.default, torch.randn(1, 1, 6, 6, dtype=torch.float64), Operand((1, 1, 2, 2))
    )
    check(weights, patches_over(weights.shape, 1), expect=None)


@pytest.mark.parametrize(
    "options",
    [
        ([2, 2],),
        ([3, 2], [2, 1], [1, 0]),
        ([3, 3], [2, 2], [1, 1], False, False),
        ([2, 3], [2, 2], [1, 1], True, False),
        ([2, 3], [2, 2], [0, 0], True, True),
        ([2, 2], [3, 3], [0, 0], False, True, 7),
    ],
)
def test_average_pooling(options: tuple[Any, ...]) -> None:
    call = Call.of(aten.avg_pool2d.default, Operand((1, 2, 9, 10)), *options)
    check(call, rows_over(call.shape, 1))
    check(call, patches_over(call.shape, 1))


@pytest.mark.parametrize("side", ["lower", "upper"])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(
    "options",
    [
        ([2, 2],),
        ([3, 2], [2, 1], [1, 1]),
        ([3, 3], [1, 1], [1, 1]),
        ([2, 2], [3, 2], [0, 0], [1, 1], True),
        ([2, 3], [1, 2], [1, 1], [2, 1]),
    ],
)
def test_maximum_pooling(options: tuple[Any, ...], batch: int, side: str) -> None:
    call = Call.of(aten.max_pool2d.default, Operand((1, 2, 9, 10)), *options, batch=batch)
    ends = torch.randn(2, batch, 1, 2, 9, 10, dtype=torch.float64).sort(0).values
    rule = default_registry().rule_for(call.node.target)
    assert rule is not None
    op = getattr(rule.relax(call, (Interval(ends[0], ends[1]),)), side).terms[0]
    for A in (rows_over(call.shape, batch), patches_over(call.shape, batch)):
        kernel = default_registry().find_kernel(op.key, type(A))
        assert kernel is not None
        pulled = kernel(op, A)
        assert isinstance(pulled, PatchesCoefficients)
        torch.testing.assert_close(pulled.to_dense(), op.transpose(A.to_dense()))


def test_adaptive_maximum_pooling_goes_dense() -> None:
    call = Call.of(aten.adaptive_max_pool2d.default, Operand((1, 2, 9, 10)), [4, 5], output=0)
    ends = torch.randn(2, 1, 1, 2, 9, 10, dtype=torch.float64).sort(0).values
    rule = default_registry().rule_for(call.node.target)
    assert rule is not None
    op = rule.relax(call, (Interval(ends[0], ends[1]),)).lower.terms[0]
    assert op is not None
    kernel = default_registry().find_kernel(op.key, PatchesCoefficients)
    assert kernel is not None
    assert kernel(op, patches_over(call.shape, 1)) is None


@pytest.mark.parametrize("op", [aten.add.Tensor, aten.sub.Tensor])
@pytest.mark.parametrize("slot", [0, 1])
def test_sum(op: Any, slot: int) -> None:
    shape = (1, 2, 5, 4)
    call = Call.of(op, Operand(shape), Operand(shape), alpha=3)
    check(call, patches_over(shape, 2), slot)
    broadcast = Call.of(op, Operand(shape), Operand((2, 1, 1)))
    check(broadcast, patches_over(shape, 2), 0)
    check(broadcast, patches_over(shape, 2), 1, expect=None)


def test_concatenation() -> None:
    parts = [Operand((1, 2, 4, 5)), torch.zeros(1, 1, 4, 5, dtype=torch.float64), Operand((1, 3, 4, 5))]
    call = Call.of(aten.cat.default, parts, 1)
    check(call, patches_over(call.shape, 2), 0)
    check(call, patches_over(call.shape, 2), 1)
    beside = Call.of(aten.cat.default, [Operand((1, 2, 4, 2)), Operand((1, 2, 4, 3))], 3)
    check(beside, patches_over(beside.shape, 1), 0, expect=None)


@pytest.mark.parametrize("pad", [[1, 2, 0, 1], [-1, 1, 0, -1], [2, 0]])
@pytest.mark.parametrize("op", [aten.constant_pad_nd.default, aten.pad.default])
def test_border(op: Any, pad: list[int]) -> None:
    call = Call.of(op, Operand((1, 2, 6, 5)), pad)
    check(call, patches_over(call.shape, 2))


def test_other_borders_go_dense() -> None:
    reflected = Call.of(aten.pad.default, Operand((1, 2, 6, 5)), [1, 1, 1, 1], "reflect")
    check(reflected, patches_over(reflected.shape, 1), expect=None)
    channels = Call.of(aten.pad.default, Operand((1, 2, 6, 5)), [0, 0, 0, 0, 1, 0])
    check(channels, patches_over(channels.shape, 1), expect=None)
