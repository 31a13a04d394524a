"""The range of a product against a grid of both factors."""

import torch

from lirpa_core.rules.relaxations.products import extremes, product_range


def test_the_range_of_a_product_is_reached_and_never_left():
    generator = torch.Generator().manual_seed(3)
    x, y = (torch.randn(200, 2, generator=generator, dtype=torch.float64).sort(-1).values for _ in range(2))
    low, up = product_range((x[:, 0], x[:, 1]), (y[:, 0], y[:, 1]))
    weights = torch.linspace(0, 1, 11, dtype=torch.float64)
    a, b = (v[:, :1] + weights * (v[:, 1:] - v[:, :1]) for v in (x, y))
    values = (a[:, :, None] * b[:, None, :]).flatten(1)
    torch.testing.assert_close(low, values.amin(1))
    torch.testing.assert_close(up, values.amax(1))


def test_extremes_of_four():
    four = torch.randn(4, 50, generator=torch.Generator().manual_seed(4))
    low, up = extremes(four[0], four[1], four[2], four[3])
    assert torch.equal(low, four.amin(0)) and torch.equal(up, four.amax(0))
