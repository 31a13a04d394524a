"""Brightness, contrast, bias fields."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lirpa_core import BoundedTensor
from lirpa_perturbations import bias_field, brightness_contrast


def test_brightness_and_contrast_are_the_extremes_of_both(brute: Any) -> None:
    x = brute.rand(2, 3, 4, 3)
    members = torch.stack([(1 + c) * x + b for c in (-0.2, 0.2) for b in (-0.1, 0.1)])
    brute.assert_minimum(brightness_contrast(x, 0.1, 0.2), x, members)
    brute.assert_minimum(brightness_contrast(x, 0.1), x, torch.stack([x - 0.1, x + 0.1]))
    brute.assert_minimum(brightness_contrast(x, contrast=0.2), x, torch.stack([0.8 * x, 1.2 * x]))


def test_bias_field_by_hand(brute: Any) -> None:
    x = brute.rand(1, 1, 3, 3)
    ptb = bias_field(x, 0.5, 1)
    u, v = torch.meshgrid(torch.linspace(-1, 1, 3), torch.linspace(-1, 1, 3), indexing="ij")
    z = x * (1 + 0.5 - 0.2 * u + 0.3 * v).double()
    assert ptb.contains(x, z.unsqueeze(0)).all()
    assert not ptb.contains(x, (x * (1 + 0.6 * u)).unsqueeze(0)).any()


def test_attacks_stay_inside(brute: Any) -> None:
    x = brute.rand(2, 1, 4, 3)
    brute.assert_attacks_stay_inside(brightness_contrast(x, 0.1, 0.2), x)
    brute.assert_attacks_stay_inside(bias_field(x, 0.2, 1), x)


def test_contrast_of_a_bounded_tensor(brute: Any) -> None:
    x = brute.rand(1, 1, 4, 3)
    again = brightness_contrast(BoundedTensor(x, brightness_contrast(x, 0.1)), 0.1, 0.2)
    assert type(again.basis) is torch.Tensor


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda x: brightness_contrast(x), "both 0"),
        (lambda x: brightness_contrast(x, -0.1), "brightness must be a number of at least 0"),
        (lambda x: brightness_contrast(x, contrast=-0.1), "contrast must be a number of at least 0"),
        (lambda x: bias_field(x, -1.0), "eps must be a number of at least 0"),
        (lambda x: bias_field(x, 1.0, -1), "order must be a whole number of at least 0"),
    ],
)
def test_refusals_name_the_argument(brute: Any, make: Any, words: str) -> None:
    brute.refuses(words, lambda: make(torch.zeros(1, 1, 2, 2)))
