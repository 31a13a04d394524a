"""The range of a product against a grid of both factors."""

import torch

from lirpa_core.rules.relaxations.products import extremes, nearest_to_zero, product_range


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


def test_the_share_of_the_point_nearest_to_zero_has_the_smallest_slopes():
    """Of all mixtures of McCormick's planes `(c_w ∓ m r_w) x + (cₓ − m rₓ) w`, on a grid of shares."""
    generator = torch.Generator().manual_seed(5)
    x, w = (torch.randn(100, 2, generator=generator, dtype=torch.float64).sort(-1).values for _ in range(2))
    cx, rx, cw, rw = x.mean(1), (x[:, 1] - x[:, 0]) / 2, w.mean(1), (w[:, 1] - w[:, 0]) / 2
    m = nearest_to_zero(cx, rx)
    at = cx - m * rx
    inside = (x[:, 0] < 0) & (x[:, 1] > 0)
    torch.testing.assert_close(at, torch.where(inside, 0, torch.where(cx > 0, x[:, 0], x[:, 1])))

    def slopes(m, sign):
        return (cw - sign * m * rw).abs() * rx + (cx - m * rx).abs() * rw

    for sign in (1, -1):
        # All mixtures with smallest slopes are between those of the two factors' points; these are one end.
        for other in torch.linspace(-1, 1, 21, dtype=torch.float64):
            assert (slopes(m, sign) <= slopes(other, sign) + 1e-12).all()


def test_an_interval_without_width_has_a_share_and_a_gradient():
    c = torch.tensor([2.0, 0.0, -1.0, 1e-30], requires_grad=True)
    r = torch.tensor([0.0, 0.0, 1e-25, 1e-30], requires_grad=True)
    m = nearest_to_zero(c, r)
    assert m.tolist() == [1.0, 0.0, -1.0, 1.0]
    m.sum().backward()
    assert c.grad is not None and c.grad.isfinite().all()
