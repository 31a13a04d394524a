"""Transposed convolutions in phases, by columns, by pixels and as one matrix are those of PyTorch."""

from __future__ import annotations

import itertools

import pytest
import torch

from lirpa_core.devices import sums_products
from lirpa_ops_vision.transposed import (
    _matrix,
    pays,
    spread,
    spread_by_columns,
    spread_by_pixels,
    spread_in_phases,
)

CASES = [
    (kernel, stride, padding, extra)
    for kernel, stride, padding, extra in itertools.product(
        ((1, 1), (3, 3), (4, 4), (2, 5)),
        ((1, 1), (2, 2), (3, 1), (4, 4)),
        ((0, 0), (1, 1), (0, 2)),
        (0, 1, 2),
    )
    if all(extra < s for s in stride)
    and all(4 * s + k - 2 * p + extra > 0 for s, k, p in zip(stride, kernel, padding, strict=True))
]


@pytest.mark.parametrize(("kernel", "stride", "padding", "extra"), CASES)
def test_equals_the_transposed_convolution(
    kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], extra: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(700, 3, 5, 4, dtype=torch.float64, generator=generator)
    weight = torch.randn(3, 2, *kernel, dtype=torch.float64, generator=generator)
    size = [
        (n - 1) * s + k - 2 * p + extra
        for n, s, k, p in zip(A.shape[2:], stride, kernel, padding, strict=True)
    ]
    if min(size) < 1:
        pytest.skip("nothing is left of such an image")
    wanted = torch.nn.functional.conv_transpose2d(
        A, weight, stride=stride, padding=padding, output_padding=extra
    )
    for way in (spread_in_phases, spread_by_pixels, spread):
        found = way(A, weight, stride, padding, size)
        assert found.is_contiguous() and torch.allclose(found, wanted, rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        found = spread_by_columns(A, weight, stride, padding, (1, 1), size)
    assert torch.allclose(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("channels", [1, 16])
@pytest.mark.parametrize("pixels", [(1, 1), (2, 2), (4, 4), (3, 7)])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (2, 1)])
def test_every_way_that_may_be_chosen(
    channels: int, pixels: tuple[int, int], stride: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(300, 2, *pixels, dtype=torch.float64, generator=generator)
    weight = torch.randn(2, channels, 4, 3, dtype=torch.float64, generator=generator)
    wanted = torch.nn.functional.conv_transpose2d(A, weight, stride=stride)
    size = wanted.shape[2:]
    found = spread(A, weight, stride, (0, 0), size)
    assert torch.allclose(found, wanted, rtol=1e-12, atol=1e-12)
    by_matrix = A.flatten(1) @ _matrix(weight, pixels, stride, size)
    assert torch.allclose(by_matrix.view_as(wanted), wanted, rtol=1e-12, atol=1e-12)


def test_none_of_them_pays_where_a_convolution_may_be_no_sum_of_products() -> None:
    images, weight = torch.zeros(64, 16, 8, 8), torch.zeros(16, 16, 4, 4)
    enabled = pays(images, weight, (2, 2), (1, 1), 1)
    with torch.backends.mkldnn.flags(enabled=False):
        assert not pays(images, weight, (2, 2), (1, 1), 1)
    assert enabled == sums_products(images.device)
