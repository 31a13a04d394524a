"""Images: sampling, pooling, borders."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.kinds.case import Case, op


def rotated(x: Tensor) -> Tensor:
    """A perturbed angle turns a fixed image."""
    c, s, zero = x[:, 0].cos(), x[:, 0].sin(), torch.zeros_like(x[:, 0])
    theta = torch.stack([torch.stack([c, -s, zero], -1), torch.stack([s, c, zero], -1)], -2)
    grid = F.affine_grid(theta, [x.shape[0], 1, 4, 4], align_corners=False)
    image = torch.linspace(0, 1, 16, dtype=x.dtype).reshape(1, 1, 4, 4).expand(x.shape[0], 1, 4, 4)
    return F.grid_sample(image, grid, align_corners=False)


_GRID = torch.linspace(-0.9, 0.9, 18, dtype=torch.float64).reshape(1, 3, 3, 2)

CASES: tuple[Case, ...] = (
    op("grid_sample of an image", lambda x: F.grid_sample(x, _GRID.expand(x.shape[0], 3, 3, 2), align_corners=False), shape=(1, 3, 3)),
    op("grid_sample with a perturbed grid", lambda x: F.grid_sample(torch.linspace(0, 1, 9, dtype=x.dtype).reshape(1, 1, 3, 3).expand(x.shape[0], 1, 3, 3), x.reshape(-1, 1, 2, 2), align_corners=False), -0.3, 0.3),
    op("rotation by a perturbed angle", rotated, -0.2, 0.2, shape=(1,)),
    op("interpolate, bilinear", lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), shape=(1, 2, 2)),
    op("interpolate, bicubic", lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"), shape=(1, 2, 2)),
    op("interpolate, nearest-exact", lambda x: F.interpolate(x, size=3, mode="nearest-exact"), shape=(1, 2, 2)),
    op("interpolate, antialias", lambda x: F.interpolate(x, size=2, mode="bilinear", antialias=True), shape=(1, 4, 4)),
    op("pixel_shuffle", lambda x: F.pixel_shuffle(x, 2), shape=(4, 1, 1)),
    op("pad, reflect", lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"), shape=(1, 2, 2)),
    op("pad, circular", lambda x: F.pad(x, (1, 1, 1, 1), mode="circular"), shape=(1, 2, 2)),
    op("pad, replicate", lambda x: F.pad(x, (1, 1, 1, 1), mode="replicate"), shape=(1, 2, 2)),
    op("max_pool2d, padded", lambda x: F.max_pool2d(x, 3, 2, 1), shape=(1, 4, 4)),
    op("max_pool2d, dilated", lambda x: F.max_pool2d(x, 2, 1, 0, 2), shape=(1, 4, 4)),
    op("max_pool2d with positions, unpooled", lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), [2, 2]), shape=(1, 2, 4)),
    op("avg_pool2d, padded", lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), shape=(1, 4, 4)),
    op("lp_pool2d", lambda x: F.lp_pool2d(x, 2, 2), 0, 1, shape=(1, 2, 4)),
    op("adaptive_avg_pool2d", lambda x: F.adaptive_avg_pool2d(x, 3), shape=(1, 4, 4)),
    op("adaptive_max_pool2d", lambda x: F.adaptive_max_pool2d(x, 3), shape=(1, 4, 4)),
    op("fold of unfold", lambda x: F.fold(F.unfold(x, 2), (3, 3), 2), shape=(1, 3, 3)),
    op("conv_transpose2d", lambda x: F.conv_transpose2d(x, torch.ones(1, 1, 2, 2, dtype=x.dtype), stride=2), shape=(1, 2, 2)),
    op("conv2d, grouped and dilated", lambda x: F.conv2d(x, torch.ones(2, 1, 2, 2, dtype=x.dtype), dilation=2, groups=2), shape=(2, 3, 3)),
    op("a perturbed kernel (dynamic filter)", lambda x: F.conv2d(x.reshape(1, -1, 3, 3), torch.ones(1, 1, 2, 2, dtype=x.dtype).expand(x.shape[0], 1, 2, 2), groups=x.shape[0]).reshape(-1, 1, 2, 2), shape=(1, 3, 3)),
    op("channel_shuffle", lambda x: F.channel_shuffle(x, 2), shape=(4, 1, 1)),
    op("total variation", lambda x: (x.diff(dim=-1).abs().sum((1, 2, 3)) + x.diff(dim=-2).abs().sum((1, 2, 3))).unsqueeze(-1), shape=(1, 3, 3)),
)  # fmt: skip
