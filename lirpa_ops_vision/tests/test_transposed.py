"""Transposed convolutions in phases, and by columns some images at a time, are those of PyTorch."""

from __future__ import annotations

import itertools

import pytest
import torch

from lirpa_ops_vision.transposed import spread_by_columns, spread_in_phases

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
    found = spread_in_phases(A, weight, stride, padding, size)
    assert torch.allclose(found, wanted, rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        found = spread_by_columns(A, weight, stride, padding, (1, 1), size)
    assert torch.allclose(found, wanted, rtol=1e-12, atol=1e-12)
