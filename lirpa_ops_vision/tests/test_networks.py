"""Whole networks under every method: no attacked output leaves the bounds, and bad input is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import InputError, PerturbationError
from lirpa_testing import few_steps, method_names

EPS = 0.1


class FirstOfPool(nn.Module):
    """A pool that also returns its indices, of which the values alone are used."""

    def forward(self, x: Tensor) -> Tensor:
        values: Tensor = nn.functional.max_pool2d(x, 2, return_indices=True)[0]
        return values


def conv(channels: int = 1, width: int = 3, **options: object) -> nn.Module:
    return nn.Conv2d(channels, width, 3, **{"padding": 1, **options})  # type: ignore[arg-type]


NETWORKS: dict[str, Callable[[], list[nn.Module]]] = {
    "pool with stride below kernel": lambda: [conv(), nn.ReLU(), nn.MaxPool2d(3, 2)],
    "pool with stride above kernel": lambda: [conv(), nn.ReLU(), nn.MaxPool2d(2, 3)],
    "two pools": lambda: [conv(), nn.MaxPool2d(2), conv(3, 2), nn.ReLU(), nn.MaxPool2d(2, 1)],
    "overlapping pool with padding": lambda: [conv(), nn.MaxPool2d(3, 1, 1), conv(3, 2), nn.ReLU()],
    "pool in ceil mode": lambda: [conv(padding=0), nn.ReLU(), nn.MaxPool2d(3, 2, 1, ceil_mode=True)],
    "dilated pool": lambda: [conv(), nn.ReLU(), nn.MaxPool2d(2, 1, 1, dilation=2)],
    "adaptive pools": lambda: [conv(), nn.Tanh(), nn.AdaptiveMaxPool2d((4, 3)), nn.AdaptiveAvgPool2d(2)],
    "average pools": lambda: [conv(), nn.ReLU(), nn.AvgPool2d(3, 2, 1), nn.ReLU(), nn.AvgPool2d(2, 1)],
    "power pool": lambda: [conv(), nn.Sigmoid(), nn.LPPool2d(2, 2)],
    "indices": lambda: [conv(), FirstOfPool()],
    "batch norm": lambda: [conv(), nn.BatchNorm2d(3), nn.ReLU(), conv(3, 2), nn.BatchNorm2d(2)],
    "group norm": lambda: [conv(width=4), nn.GroupNorm(2, 4), nn.ReLU()],
    "instance norm": lambda: [conv(), nn.InstanceNorm2d(3, affine=True), nn.ReLU()],
    "local response norm": lambda: [conv(), nn.ReLU(), nn.LocalResponseNorm(2)],
    "circular": lambda: [conv(padding_mode="circular"), nn.ReLU(), conv(3, 2, padding="same")],
    "reflect and replicate": lambda: [conv(padding_mode="reflect"), nn.ReLU(), conv(3, 2, padding_mode="replicate")],
    "hourglass": lambda: [
        conv(stride=2), nn.ReLU(), nn.Upsample(scale_factor=2), nn.ReLU(),
        nn.Upsample(size=(5, 5), mode="bicubic"), nn.ConvTranspose2d(3, 2, 2, stride=2), nn.ReLU(),
    ],
    "shuffles": lambda: [
        conv(width=4), nn.ChannelShuffle(2), nn.ReLU(), nn.PixelShuffle(2), nn.ReLU(), nn.PixelUnshuffle(2),
    ],
    "depthwise": lambda: [conv(width=4), nn.ReLU(), conv(4, 4, groups=4), nn.ReLU(), nn.Conv2d(4, 2, 1)],
}  # fmt: skip


def network(name: str) -> nn.Module:
    torch.manual_seed(len(name))
    model = nn.Sequential(*NETWORKS[name](), nn.Flatten(), nn.LazyLinear(3))
    model(torch.rand(1, 1, 6, 6))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean, module.running_var = (
                torch.randn(module.num_features) / 10,
                torch.rand(module.num_features) + 0.5,
            )
    return model.double().eval()


def worst_escape(model: nn.Module, x: Tensor, lower: Tensor, upper: Tensor) -> float:
    """How far a gradient attack from random starts gets outside; negative where it stays inside."""
    generator = torch.Generator().manual_seed(0)
    worst = -float("inf")
    for image, low, up in zip(x, lower, upper, strict=True):
        d = (torch.rand(24, *image.shape, generator=generator, dtype=x.dtype) * 2 - 1) * EPS
        for _ in range(5):
            d = d.clamp(-EPS, EPS).requires_grad_(True)
            out = model(image + d)
            worst = max(worst, (low - out).max().item(), (out - up).max().item())
            goal = torch.cat([out[:12], -out[12:]])[torch.arange(24), torch.arange(24) % 3].sum()
            d = (d + EPS / 2 * torch.autograd.grad(goal, d)[0].sign()).detach()
    return worst


@pytest.mark.parametrize("name", NETWORKS)
def test_every_method_holds(name: str) -> None:
    model = network(name)
    x = torch.rand(2, 1, 6, 6, dtype=torch.float64)
    bounded = BoundedModule(model, x, bound_opts=few_steps())
    widths = {}
    for method in method_names():
        with torch.no_grad():
            lower, upper = bounded.compute_bounds(
                x=BoundedTensor(x, PerturbationLpNorm(eps=EPS)), method=method
            )
        assert worst_escape(model, x, lower, upper) <= 1e-9, method
        widths[method] = (upper - lower).mean().item()
    assert widths["CROWN"] <= widths["CROWN-IBP"] * (1 + 1e-9) <= widths["IBP"] * (1 + 1e-6)


@pytest.mark.parametrize("method", method_names())
def test_perturbed_kernel(method: str) -> None:
    from lirpa_core import BoundedParameter

    torch.manual_seed(0)
    model = nn.Sequential(conv(width=2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2)).double().eval()
    x = torch.rand(1, 1, 4, 4, dtype=torch.float64)
    weight = model[0].weight.detach().clone()  # type: ignore[union-attr, operator]
    model[0].weight = BoundedParameter(weight, PerturbationLpNorm(eps=0.02))
    bounded = BoundedModule(model, x, bound_opts=few_steps())
    lower, upper = bounded.compute_bounds(x=BoundedTensor(x, PerturbationLpNorm(eps=0.02)), method=method)
    for _ in range(50):
        moved = [t + 0.02 * torch.empty_like(t).uniform_(-1, 1).sign() for t in (weight, x)]
        with torch.no_grad():
            hidden = nn.functional.conv2d(moved[1], moved[0], model[0].bias, padding=1)  # type: ignore[arg-type]
            out = model[1:](hidden)
        assert bool(((out >= lower - 1e-9) & (out <= upper + 1e-9)).all())


EXAMPLES: dict[str, tuple[nn.Module, Tensor, str]] = {
    "kernel larger than the padded image": (
        nn.Conv2d(1, 1, 5),
        torch.rand(1, 1, 3, 3),
        r"3, 3\].*Kernel size",
    ),
    "other number of channels": (nn.Conv2d(3, 1, 3), torch.rand(2, 1, 6, 6), r"1, 6, 6\].*3 channels"),
    "integers": (nn.Conv2d(1, 1, 3), torch.randint(255, (1, 1, 6, 6)), r"torch\.int64"),
    "complex numbers": (nn.Conv2d(1, 1, 3), torch.rand(1, 1, 6, 6).to(torch.complex64), r"torch\.complex64"),
    "half precision": (nn.Conv2d(1, 1, 3).half(), torch.rand(1, 1, 6, 6).half(), r"torch\.float16"),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_wrong_examples(name: str) -> None:
    model, x, message = EXAMPLES[name]
    with pytest.raises(InputError, match=message):
        BoundedModule(model, x)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.randint(255, (1, 1, 6, 6)), PerturbationError, "floating point"),
        (torch.rand(1, 1, 6, 6).to(torch.complex64), PerturbationError, "floating point"),
        (torch.rand(1, 1, 7, 6), InputError, r"captured for \[B, 1, 6, 6\]"),
        (torch.rand(1, 2, 6, 6), InputError, r"captured for \[B, 1, 6, 6\]"),
        (torch.rand(1, 1, 6, 6).double(), InputError, r"torch\.float64"),
    ],
    ids=["integers", "complex numbers", "another resolution", "another number of channels", "another type"],
)
def test_wrong_images(x: Tensor, error: type[Exception], message: str) -> None:
    bounded = BoundedModule(network("two pools").float(), torch.rand(1, 1, 6, 6))
    with pytest.raises(error, match=message):
        bounded.compute_bounds(x=BoundedTensor(x, PerturbationLpNorm(eps=EPS)))
