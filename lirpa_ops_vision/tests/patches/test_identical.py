"""Bounds with patches are those with dense coefficients, on random convolutional graphs."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.perturbations.base import Perturbation

GRAPHS = 14


class RandomGraph(nn.Module):
    """A chain of random blocks, with skips and concatenations where the shapes allow them."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        draw = random.Random(seed)
        torch.manual_seed(seed)
        channels, size = draw.choice([1, 2, 3]), draw.choice([9, 10, 12])
        self.image = (channels, size, size + draw.choice([-1, 0, 2]))
        self.kinds: list[str] = []
        self.blocks = nn.ModuleList()
        for _ in range(draw.randint(2, 4)):
            kind = draw.choice(["plain", "residual", "dense", "projected"])
            width = draw.choice([2, 3, 4])
            self.kinds.append(kind)
            self.blocks.append(self._block(draw, kind, channels, width))
            channels = {"dense": channels + width, "residual": channels}.get(kind, width)
        self.head = nn.LazyLinear(4)

    @staticmethod
    def _conv(draw: random.Random, channels: int, width: int, stride: int = 1) -> nn.Module:
        if stride > 1:
            kernel, dilation, padding = draw.choice([(3, 1, 1), (2, 1, 0), (3, 1, 0), (2, 2, 1), (1, 1, 0)])
        else:
            kernel, dilation, padding = draw.choice([(3, 1, 1), (3, 2, 2), (1, 1, 0)])
        groups = channels if width % channels == 0 and draw.random() < 0.3 else 1
        conv = nn.Conv2d(channels, width, kernel, stride, padding, dilation, groups)
        if draw.random() < 0.4:
            norm = nn.BatchNorm2d(width)
            norm.running_mean, norm.running_var = torch.randn(width) / 4, torch.rand(width) + 0.5
            return nn.Sequential(conv, norm)
        return conv

    def _block(self, draw: random.Random, kind: str, channels: int, width: int) -> nn.Module:
        act = draw.choice([nn.ReLU, nn.Tanh, lambda: nn.LeakyReLU(0.2)])
        if kind == "residual":
            return nn.Sequential(self._conv(draw, channels, width), act(), self._conv(draw, width, channels))
        if kind == "dense":
            return nn.Sequential(act(), self._conv(draw, channels, width))
        if kind == "projected":
            first = nn.Conv2d(channels, width, 3, 2, 1)
            both = nn.Sequential(first, act(), self._conv(draw, width, width))
            return nn.ModuleList([both, nn.Conv2d(channels, width, 1, 2)])
        pools = [nn.AvgPool2d(2, 1), nn.AvgPool2d(3, 2, 1), nn.MaxPool2d(2, 1), nn.MaxPool2d(3, 2, 1)]
        pool = draw.choice([None, *pools, nn.ZeroPad2d((1, 0, 0, 2))])
        parts = [self._conv(draw, channels, width, draw.choice([1, 2])), act()]
        return nn.Sequential(*parts, *([pool] if pool else []))

    def forward(self, x: Tensor) -> Tensor:
        for kind, block in zip(self.kinds, self.blocks, strict=True):
            if kind == "residual":
                x = torch.relu(block(x) + x)
            elif kind == "dense":
                x = torch.cat([block(x), x], 1)
            elif kind == "projected":
                main, skip = block  # type: ignore[misc]
                x = torch.relu(main(x) - skip(x))
            else:
                x = block(x)
        y: Tensor = self.head(x.flatten(1))
        return y


@pytest.mark.parametrize("seed", range(GRAPHS))
def test_patches_and_dense_coefficients_give_the_same_bounds(seed: int) -> None:
    model = RandomGraph(seed)
    batch = 1 + seed % 2
    x = torch.rand(batch, *model.image)
    model(x)
    model.double().eval()
    x = x.double()
    sets: list[Perturbation] = [PerturbationLpNorm(eps=0.05), PerturbationLpNorm(eps=0.3, norm=2)]
    found = {}
    for mode in ("patches", "matrix"):
        bounded = BoundedModule(model, x, bound_opts={"conv_mode": mode})
        with torch.no_grad():
            result = bounded.compute_bounds(x=BoundedTensor(x, sets[seed % 3 == 0]), method="CROWN")
        found[mode] = torch.stack([result.lower, result.upper])
    torch.testing.assert_close(found["patches"], found["matrix"], rtol=1e-9, atol=1e-9)
