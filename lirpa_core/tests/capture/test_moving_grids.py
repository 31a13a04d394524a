"""Samples of an image at perturbed positions."""

import math

import pytest
import torch
import torch.nn.functional as F

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.capture.moving_grids import sampled

IMAGE = torch.rand(2, 2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
GRID = 2.6 * torch.rand(2, 5, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) - 1.3


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize(("number", "name"), [(0, "zeros"), (1, "border")])
def test_samples_are_those_of_pytorch(number, name, align):
    wanted = F.grid_sample(IMAGE, GRID, padding_mode=name, align_corners=align)
    torch.testing.assert_close(sampled(IMAGE, GRID, number, align), wanted)


def rotated(angle):
    c, s, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    theta = torch.stack([torch.cat([c, -s, zero], 1), torch.cat([s, c, zero], 1)], 1)
    image = IMAGE[:1, :1].expand(angle.shape[0], 1, 3, 4)
    return F.grid_sample(
        image, F.affine_grid(theta, [angle.shape[0], 1, 3, 4], align_corners=False), align_corners=False
    )


def test_a_rotation_is_bounded():
    x, eps = torch.tensor([[0.0], [0.4]], dtype=torch.float64), math.radians(3)
    bounded = BoundedModule(rotated, x)
    for method in ("IBP", "CROWN", "forward"):
        lower, upper = bounded.compute_bounds(
            x=(BoundedTensor(x, PerturbationLpNorm(eps=eps)),), method=method
        )
        for t in torch.linspace(-eps, eps, 101, dtype=torch.float64):
            value = rotated(x + t)
            assert (lower <= value + 1e-12).all() and (value <= upper + 1e-12).all(), method
