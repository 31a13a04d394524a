"""The chord of the exponential against the quotient that defines it."""

import math

import torch

from lirpa_core.rules.relaxations.exponential import relative_chord


def test_it_is_the_quotient_where_that_is_accurate():
    low, up = torch.tensor([-2.0, 0.0, -30.0]).double(), torch.tensor([1.0, 0.5, 3.0]).double()
    expected = (up.exp() - low.exp()) / (up - low)
    torch.testing.assert_close(up.exp() * relative_chord(up - low), expected)


def test_limits_and_gradients_at_width_zero():
    width = torch.tensor([0.0, 1e-12, 1e-300, math.inf], dtype=torch.float64, requires_grad=True)
    slope = relative_chord(width)
    torch.testing.assert_close(slope, torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=torch.float64))
    slope[:3].sum().backward()
    assert width.grad is not None and bool(width.grad[:3].isfinite().all())
