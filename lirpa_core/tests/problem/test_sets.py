"""Intervals of layers whose weights are in balls: closed forms, attacks, and no wider than the box around the ball."""

import pytest
import torch
from torch import nn

from lirpa_core import BoundedModule, BoundedParameter, BoundedTensor, PerturbationLpNorm
from lirpa_core.methods import traversal

DUAL = {1.0: torch.inf, 2.0: 2.0, 3.0: 1.5}


def model(norm: float, eps: float, limits: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double()
    for layer in (network[0], network[2]):
        walls = {"x_L": layer.weight.data - 0.7 * eps} if limits else {}
        layer.weight = BoundedParameter(layer.weight.data, PerturbationLpNorm(norm=norm, eps=eps, **walls))
    return network


def inputs() -> tuple[torch.Tensor, BoundedTensor]:
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return x, BoundedTensor(x, PerturbationLpNorm(eps=0.2))


@pytest.mark.parametrize("norm", DUAL)
def test_the_closed_form_of_two_layers(norm: float) -> None:
    """`W₀ c ± (|W₀| r + ε ‖ |c| + r ‖)`, in the dual norm, at either layer."""
    network, (x, ball) = model(norm, 0.1), inputs()
    lower, upper = BoundedModule(network, x).compute_bounds(x=(ball,), method="IBP")
    low, up = x - 0.2, x + 0.2
    for layer in (network[0], network[2]):
        W, b = layer.weight.detach(), layer.bias.detach()
        c, r = (low + up) / 2, (up - low) / 2
        reach = torch.linalg.vector_norm(low.abs().maximum(up.abs()), DUAL[norm], dim=1, keepdim=True)
        y, radius = c @ W.T + b, r @ W.abs().T + 0.1 * reach
        low, up = y - radius, y + radius
        if layer is network[0]:
            low, up = low.relu(), up.relu()
    # Where the box of the weights says more, that is taken.
    assert (lower >= low - 1e-9).all() and (upper <= up + 1e-9).all()
    assert ((lower - low).abs() < 1e-9).any() or ((upper - up).abs() < 1e-9).any()


@pytest.mark.parametrize("norm", DUAL)
@pytest.mark.parametrize("method", ["IBP", "CROWN-IBP", "CROWN"])
@pytest.mark.parametrize("limits", [False, True])
def test_members_of_the_set_stay_inside_and_the_box_is_wider(norm: float, method: str, limits: bool) -> None:
    network, (x, ball) = model(norm, 0.3, limits), inputs()
    lower, upper = BoundedModule(network, x).compute_bounds(x=(ball,), method=method)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(traversal, "around_sets", lambda problem, name, interval, found: interval)
        low, up = BoundedModule(network, x).compute_bounds(x=(ball,), method=method)
    assert (upper - lower).mean() < (0.97 if method == "IBP" else 1.0) * (up - low).mean()
    assert method != "IBP" or bool(((lower >= low) & (upper <= up)).all())
    generator = torch.Generator().manual_seed(2)
    sign = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    for _ in range(40):
        moved = x + 0.2 * sign[torch.randint(2, x.shape, generator=generator)]
        weights = {}
        for place in ("0", "2"):
            layer = network[int(place)]
            picked = layer.weight.ptb.sample(layer.weight.detach().unsqueeze(0), 1, generator)
            weights[f"{place}.weight"] = picked[0, 0]
            weights[f"{place}.bias"] = layer.bias.detach()
        out = torch.func.functional_call(network, weights, (moved,))
        assert (out >= lower).all() and (out <= upper).all()


def test_convolutions_and_gradients() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(1, 2, 3, padding=1).double()
    conv.weight = BoundedParameter(conv.weight.data, PerturbationLpNorm(norm=2, eps=0.1))
    x = torch.randn(2, 1, 4, 4, dtype=torch.float64)
    ball = BoundedTensor(x, PerturbationLpNorm(eps=0.1))
    bounded = BoundedModule(conv, x, bound_opts={"rounding": "nearest"})
    lower, upper = bounded.compute_bounds(x=(ball,), method="IBP")
    weight, bias = conv.weight.detach(), conv.bias.detach()
    center = nn.functional.conv2d(x, weight, bias, padding=1)
    reach = nn.functional.conv2d((x.abs() + 0.1).square(), torch.ones_like(weight), padding=1).sqrt()
    radius = nn.functional.conv2d(torch.full_like(x, 0.1), weight.abs(), padding=1) + 0.1 * reach
    assert (upper <= center + radius + 1e-12).all() and (lower >= center - radius - 1e-12).all()
    torch.testing.assert_close(upper.max(), (center + radius).max())
    upper.sum().backward()
    assert conv.weight.grad is not None and bool(conv.weight.grad.isfinite().all())
