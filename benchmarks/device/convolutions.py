"""Part `convolutions`: are convolutions of the device as exact as bounds take them to be?

Bounds charge a sum of `n` products `γ_n Σ|products|` for its rounding, whatever the order of summation. Kernels that
transform tiles of the image first (Winograd, FFT) do not keep to that: numbers outside of an output's window take part in
its rounding. So images get one huge number each, and outputs that do not see it must come out as without it; and every output
must be within its `γ_n Σ|products|` of the same convolution in float64.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.device.run import Item, Run
from lirpa_core.devices import full_precision

#: Channels in and out, kernel, stride, image.
_CASES = (
    (16, 16, 3, 1, 16), (64, 64, 3, 1, 32), (128, 128, 3, 1, 16), (64, 128, 3, 2, 32), (3, 64, 7, 2, 64),
    (32, 32, 5, 1, 28), (256, 256, 3, 1, 8), (1, 16, 4, 2, 28),
)  # fmt: skip
_IMAGES = (1, 64, 512)
_HUGE = 2.0**40


def by_columns(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """The convolution as one product with columns of windows."""
    n, _, height, width = x.shape
    kernel = weight.shape[-1]
    columns = F.unfold(x, kernel, padding=padding, stride=stride)
    size = [(s + 2 * padding - kernel) // stride + 1 for s in (height, width)]
    return (weight.flatten(1) @ columns).reshape(n, weight.shape[0], *size)


def convolutions(run: Run) -> None:
    """Look at forward and transposed convolutions of several sizes."""
    cases = _CASES[:1] if run.dry else _CASES
    for case in run.steps(cases):
        for images in _IMAGES[:1] if run.dry else _IMAGES:
            for transposed in (False, True):
                known: Item = {"case": list(case), "images": images, "transposed": transposed}
                run.attempt(known, lambda: _look(run, case, images, transposed))  # noqa: B023


def _look(run: Run, case: tuple[int, ...], images: int, transposed: bool) -> Item:
    inputs, outputs, kernel, stride, size = case
    torch.manual_seed(0)
    x = torch.randn(images, inputs, size, size, device=run.device)
    weight = torch.randn(outputs, inputs, kernel, kernel, device=run.device)
    padding = kernel // 2

    def plain(x: Tensor, w: Tensor) -> Tensor:
        if transposed:
            return F.conv_transpose2d(x, w.transpose(0, 1), None, stride, padding)
        return F.conv2d(x, w, None, stride, padding)

    with full_precision(), torch.no_grad():
        found = plain(x, weight)
        exact, total = plain(x.double(), weight.double()), plain(x.double().abs(), weight.double().abs())
        worst = float(((found - exact).abs() / total).max())
        spiked = x.clone()
        spiked[:, :, size // 2, size // 2] = _HUGE
        seen = plain((spiked == _HUGE).double(), weight.double().abs() + 1) > 0
        gap = torch.where(seen, 0.0, (plain(spiked, weight) - exact).abs() / total)
        found_at: Item = {
            "units": worst * 2**24,
            "units_beside": float(gap.max()) * 2**24,
            "terms": inputs * kernel**2,
        }
        found_at["seconds"] = _least(run, lambda: plain(x, weight))
        if not transposed:
            found_at["columns"] = _least(run, lambda: by_columns(x, weight, stride, padding))
        with torch.backends.cudnn.flags(enabled=False):
            found_at["native"] = _least(run, lambda: plain(x, weight))
            found_at["native_units"] = (
                float((torch.where(seen, 0.0, (plain(spiked, weight) - exact).abs() / total)).max()) * 2**24
            )
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, benchmark=False, allow_tf32=False):
            found_at["deterministic"] = _least(run, lambda: plain(x, weight))
            found_at["deterministic_units"] = (
                float((torch.where(seen, 0.0, (plain(spiked, weight) - exact).abs() / total)).max()) * 2**24
            )
    found_at["equal"] = max(worst, float(gap.max())) * 2**24 <= found_at["terms"] + 1
    return found_at


def _least(run: Run, call: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        start = time.perf_counter()
        call()
        run.synchronize()
        times.append(time.perf_counter() - start)
    return min(times)
