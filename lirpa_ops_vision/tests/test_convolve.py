"""Convolutions as matrix products, as they are computed on CUDA."""

from __future__ import annotations

import itertools

import pytest
import torch

from lirpa_ops_vision import convolve as module
from lirpa_ops_vision.convolve import Options, by_products

SPACES = {1: (9,), 2: (7, 8), 3: (4, 5, 4)}


def _case(dims: int, groups: int, transposed: bool) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(dims + groups)
    x = torch.randn(3, 4, *SPACES[dims], dtype=torch.float64)
    kernel = (3, 2, 2)[:dims]
    shape = (4, 6 // groups) if transposed else (6, 4 // groups)
    return x, torch.randn(*shape, *kernel, dtype=torch.float64)


@pytest.mark.parametrize(
    ("dims", "groups", "transposed"), list(itertools.product((1, 2, 3), (1, 2), (False, True)))
)
@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "extra"), [(1, 0, 1, 0), (2, 1, 1, 1), (2, 1, 2, 1), (1, 1, 2, 1)]
)
def test_equal_to_those_of_pytorch(
    dims: int, groups: int, transposed: bool, stride: int, padding: int, dilation: int, extra: int
) -> None:
    x, weight = _case(dims, groups, transposed)
    options = [(n,) * dims for n in (stride, padding, dilation)]
    added = (extra if transposed else 0,) * dims
    found = by_products(x, weight, Options(*options, transposed, added, groups))
    expected = torch.convolution(x, weight, None, *options, transposed, added, groups)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("transposed", [False, True])
def test_a_few_images_at_a_time(monkeypatch: pytest.MonkeyPatch, transposed: bool) -> None:
    x, weight = _case(2, 2, transposed)
    options = Options((2, 1), (1, 0), (1, 2), transposed, (0, 0), 2)
    whole = by_products(x, weight, options)
    monkeypatch.setattr(module, "_COLUMNS", 1)
    torch.testing.assert_close(by_products(x, weight, options), whole)


@pytest.mark.parametrize("transposed", [False, True])
def test_numbers_outside_of_a_window_take_no_part(transposed: bool) -> None:
    x, weight = (t.float() for t in _case(2, 1, transposed))
    options = Options((1, 1), (1, 1), (1, 1), transposed, (0, 0), 1)
    plain = by_products(x, weight, options)
    huge = x.clone()
    huge[:, :, 3, 3] = 2.0**40
    seen = by_products((huge != x).float(), weight.abs() + 1, options) > 0
    found = by_products(huge, weight, options)
    assert bool((~seen).any())
    assert torch.equal(found[~seen], plain[~seen])


def test_gradients() -> None:
    for transposed in (False, True):
        x, weight = (t.requires_grad_() for t in _case(2, 2, transposed))
        assert torch.autograd.gradcheck(
            lambda x, w, t=transposed: by_products(x, w, Options((2, 1), (1, 1), (1, 1), t, (0, 0), 2)),
            (x, weight),
            fast_mode=True,
        )


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize("images", [4, 32])
def test_the_host_s_own_kernels_are_sums_of_products_too(transposed: bool, images: int, onednn: bool) -> None:
    """What bounds rely on where no columns are made; without oneDNN PyTorch would take NNPACK's transforms."""
    with torch.backends.mkldnn.flags(enabled=onednn):
        _look_at_the_host_s_kernels(transposed, images)


def _look_at_the_host_s_kernels(transposed: bool, images: int) -> None:
    for channels, kernel, size in ((16, 3, 16), (64, 3, 32), (32, 5, 28)):
        torch.manual_seed(0)
        x, weight = torch.randn(images, channels, size, size), torch.randn(channels, channels, kernel, kernel)
        options = Options((1, 1), (kernel // 2,) * 2, (1, 1), transposed, (0, 0), 1)
        plain = module.convolve(x, weight, options)
        huge = x.clone()
        huge[:, :, size // 2, size // 2] = 2.0**40
        seen = module.convolve((huge != x).float(), weight.abs() + 1, options) > 0
        found = module.convolve(huge, weight, options)
        size_of = module.convolve(x.abs(), weight.abs(), options)
        units = ((found - plain).abs() / size_of * 2**24)[~seen]
        assert float(units.max()) <= 2 * channels * kernel**2
