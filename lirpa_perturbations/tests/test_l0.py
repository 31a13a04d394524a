"""L0 sets against every choice of pixels, and their refusals."""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor
from lirpa_core.errors import PerturbationError
from lirpa_core.linear.coefficients import DenseCoefficients
from lirpa_perturbations import PerturbationL0Norm
from lirpa_perturbations.conformance import PIXELS
from lirpa_testing import check_perturbation, method_names

F64 = torch.float64


def members(x: Tensor, k: int, pixels: list[list[int]], low: Tensor, up: Tensor) -> Tensor:
    """Every way to send `k` pixels to corners: `[n, B, *S]`."""
    found = []
    for chosen in combinations(range(len(pixels)), k):
        elements = [e for c in chosen for e in pixels[c]]
        for corner in product((0, 1), repeat=len(elements)):
            z = x.flatten(1).clone()
            for e, side in zip(elements, corner, strict=True):
                z[:, e] = (up if side else low).expand_as(x).flatten(1)[:, e]
            found.append(z.reshape(x.shape))
    return torch.stack([x, *found])


def pixels_of(case: str, shape: tuple[int, ...]) -> list[list[int]]:
    number = torch.arange(torch.Size(shape).numel()).reshape(shape)
    if case == "image":
        return number.flatten(1).T.tolist()
    if case == "rows":
        return number.tolist()
    if case == "labels":
        return [number[:, [0, 2]].flatten().tolist(), number[:, 1].tolist()]
    return [[i] for i in number.flatten().tolist()]


@pytest.mark.parametrize("case", PIXELS)
@pytest.mark.parametrize("k", [0, 1, 2])
def test_is_the_minimum_over_every_choice_of_pixels(brute: Any, case: str, k: int) -> None:
    shape, options = PIXELS[case]
    x = brute.rand(3, *shape)
    ptb = PerturbationL0Norm(eps=k, **options)
    low, up = (torch.as_tensor(options.get(n, d)).to(F64) for n, d in (("x_L", 0.0), ("x_U", 1.0)))
    ratio = options.get("ratio", 1.0)
    low, up = x + ratio * (low - x), x + ratio * (up - x)
    brute.assert_minimum(ptb, x, members(x, k, pixels_of(case, shape), low, up))


def test_all_pixels_are_the_box(brute: Any) -> None:
    x, A = brute.rand(2, 4), DenseCoefficients(brute.randn(5, 2, 4))
    ptb = PerturbationL0Norm(eps=4)
    torch.testing.assert_close(ptb.concretize(x, A), A.split_dot(torch.zeros_like(x), torch.ones_like(x)))


def test_budget_per_example(brute: Any) -> None:
    x, A = brute.rand(3, 6), DenseCoefficients(brute.randn(4, 3, 6))
    ptb = PerturbationL0Norm(eps=torch.tensor([0, 2, 5]))
    check_perturbation(ptb, x)
    value = ptb.concretize(x, A)
    for b, k in enumerate((0, 2, 5)):
        alone = PerturbationL0Norm(eps=k).concretize(x[b : b + 1], DenseCoefficients(A.A[:, b : b + 1]))
        torch.testing.assert_close(value[:, b : b + 1], alone)


@pytest.mark.parametrize("act", [nn.ReLU, nn.Tanh])
def test_attacks_stay_inside(brute: Any, act: type[nn.Module]) -> None:
    brute.assert_attacks_stay_inside(PerturbationL0Norm(eps=2), brute.rand(3, 12), act)
    brute.assert_attacks_stay_inside(PerturbationL0Norm(eps=1), brute.rand(2, 3, 2, 2), act)


def test_is_exact_on_a_linear_model(brute: Any) -> None:
    x, linear = brute.rand(2, 6), nn.Linear(6, 3).double()
    ptb = PerturbationL0Norm(eps=2)
    bounded = BoundedModule(linear, x[:1])
    exact = ptb.concretize(x, DenseCoefficients(linear.weight.unsqueeze(1))).T + linear.bias
    for method in method_names():
        bounds = bounded.compute_bounds(x=(BoundedTensor(x, ptb),), method=method)
        torch.testing.assert_close(bounds.lower, exact)


def test_budget_tightens_every_method(brute: Any) -> None:
    x, bounded = brute.rand(2, 12), brute.model_of((12,))[1]
    for method in method_names():
        widths = []
        for k in (0, 1, 3, 12):
            lb, ub = bounded.compute_bounds(x=(BoundedTensor(x, PerturbationL0Norm(eps=k)),), method=method)
            widths.append((ub - lb).mean().item())
        assert widths[0] < 1e-12 < widths[1] < widths[2] < widths[3], method


def test_examples_need_not_come_first(brute: Any) -> None:
    x = brute.rand(4, 3)
    moved = PerturbationL0Norm(eps=1, x_U=1 + x).aligned(1, 2)
    check_perturbation(moved, x.T)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"eps": -1}, "eps must be a whole number of at least 0"),
        ({"eps": 1.5}, "eps must be a whole number"),
        ({"eps": "two"}, "eps must be a whole number"),
        ({"eps": True}, "eps must be a whole number"),
        ({"eps": float("nan")}, "eps must be a whole number"),
        ({"eps": float("inf")}, "eps must be a whole number"),
        ({"eps": torch.tensor([1, -1])}, "eps must be a whole number"),
        ({"eps": torch.tensor([[1]])}, "eps must be a whole number"),
        ({"eps": 7}, "eps is 7, but there are only 6 pixels"),
        ({"eps": torch.tensor([1, 2, 3])}, "eps has 3 elements for 2 examples"),
        ({"eps": 1, "ratio": 1.5}, "ratio must be a number from 0 to 1"),
        ({"eps": 1, "x_L": 0.5}, "x_L = 0.5; clamp it"),
        ({"eps": 1, "x_U": None}, "x_U must be a number"),
        ({"eps": 1, "x_U": float("inf")}, "x_U must be finite"),
        ({"eps": 1, "x_L": 2.0}, "x_L must not exceed x_U"),
        ({"eps": 1, "x_L": torch.zeros(5)}, "x_L has shape"),
        ({"eps": 1, "group": "pixel"}, "group must be None"),
        ({"eps": 1, "group": (3,)}, "group = "),
        ({"eps": 1, "group": torch.arange(4)}, "group has shape"),
    ],
)
def test_refusals_name_the_argument(options: dict[str, Any], words: str) -> None:
    x = torch.linspace(0, 1, 12).reshape(2, 6)
    with pytest.raises(PerturbationError, match=words.replace("(", r"\(")):
        PerturbationL0Norm(**options).validate(x)


def test_pixels_are_counted_with_all_their_channels(brute: Any) -> None:
    with pytest.raises(PerturbationError, match="only 4 pixels"):
        PerturbationL0Norm(eps=5).validate(brute.rand(1, 3, 2, 2))


def test_repr_shows_the_arguments() -> None:
    assert repr(PerturbationL0Norm(eps=3, group=(0,))) == (
        "PerturbationL0Norm(eps=3, ratio=1, x_L=0, x_U=1, group=...)"
    )
