"""The model zoo of the vision example: every model is captured and bounded."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
import torch

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm

FOLDER = Path(__file__).parents[2] / "examples" / "vision"
NAMES = ("cnn_7layer_bn", "resnet18", "densenet", "resnext", "wide_resnet", "mobilenet_v2", "vit", "unet")
EPS = 1e-5


def quick(*names):
    """All models; those that are not named only in the thorough suite."""
    return [n if n in names else pytest.param(n, marks=pytest.mark.thorough) for n in NAMES]


@pytest.fixture(scope="module")
def zoo():
    """The models by name, imported the way the example's programs do."""
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module("models").ZOO
    finally:
        sys.path.remove(str(FOLDER))
        for name in [n for n in sys.modules if n == "models" or n.startswith("models.")]:
            del sys.modules[name]


def bound(model, size, methods, rows=None):
    """Bounds of two images, which must hold the outputs of moved images."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, size, size, generator=generator)
    bounded = BoundedModule(model, x)
    widths = []
    with torch.no_grad():
        for method in methods:
            lower, upper = bounded.compute_bounds(
                x=BoundedTensor(x, PerturbationLpNorm(eps=EPS)), method=method, C=rows
            )
            widths.append((upper - lower).mean().item())
            for _ in range(3):
                moved = x + EPS * torch.randn(x.shape, generator=generator).sign()
                out = model(moved)
                out = out if rows is None else torch.einsum("brk,bk->br", rows, out)
                slack = 1e-4 * (1 + out.abs())
                assert bool(((out >= lower - slack) & (out <= upper + slack)).all()), method
    assert widths == sorted(widths, reverse=True)


def test_the_zoo_is_complete(zoo):
    assert tuple(zoo) == NAMES


@pytest.mark.parametrize("name", quick("cnn_7layer_bn", "vit"))
def test_full_size(zoo, name):
    torch.manual_seed(0)
    bound(zoo[name]().eval(), 32, ("IBP", "CROWN-IBP"))


@pytest.mark.slow
@pytest.mark.parametrize("name", quick("cnn_7layer_bn", "vit"))
def test_imagenet_64(zoo, name):
    torch.manual_seed(0)
    rows = torch.zeros(2, 2, 200)
    rows[:, 0, 3], rows[:, 1, 5], rows[:, :, 7] = 1, 1, -1
    bound(zoo[name](classes=200, size=64).eval(), 64, ("IBP", "CROWN-IBP"), rows)


@pytest.mark.parametrize("name", quick("cnn_7layer_bn", "resnet18", "resnext", "vit", "unet"))
def test_crown_at_reduced_width(zoo, name):
    torch.manual_seed(0)
    bound(zoo[name](size=16, width=1 / 16).eval(), 16, ("IBP", "CROWN-IBP", "CROWN"))
