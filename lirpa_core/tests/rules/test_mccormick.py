"""Planes of products: the four of McCormick by hand, and every mixture of them, at corners."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.relaxation import Affine
from lirpa_core.rules.bilinear import Bilinear
from lirpa_core.rules.call import Call, Operand
from lirpa_core.rules.mccormick import MIXTURE, Product, mean_planes

aten = torch.ops.aten


def product() -> Product:
    """Six products of two numbers, whose boxes have every sign."""
    found: list[Product] = []

    def remembered(given: Product) -> None:
        found.append(given)

    rule = Bilinear("self", "other", planes=remembered)
    generator = torch.Generator().manual_seed(0)
    lower = torch.randn(2, 6, generator=generator, dtype=torch.float64)
    upper = lower + 2 * torch.rand(2, 6, generator=generator, dtype=torch.float64)
    x, y = (Interval(low.unsqueeze(1), up.unsqueeze(1)) for low, up in zip(lower, upper, strict=True))
    rule.relax(Call.of(aten.mul.Tensor, Operand((1,)), Operand((1,))), (x, y))
    return found[0]


def at(side: Affine, x: Tensor, y: Tensor) -> Tensor:
    value = sum(term.apply(v) for term, v in zip(side.terms, (x, y), strict=True) if term is not None)
    return value if side.bias is None else value + side.bias


@pytest.mark.parametrize("share", [-1.0, 1.0])
def test_shares_at_their_ends_are_the_planes_by_hand(share: float) -> None:
    given = product()
    x, y = given.x, given.y
    found = MIXTURE.planes(given, [torch.full((6, 1), share, dtype=torch.float64)] * 2)
    at_x, low_y, up_y = (x.lower, y.lower, y.upper) if share == 1 else (x.upper, y.upper, y.lower)
    u, v = x.midpoint + 0.1, y.midpoint - 0.2
    torch.testing.assert_close(at(found.lower, u, v), low_y * u + at_x * v - at_x * low_y)
    torch.testing.assert_close(at(found.upper, u, v), up_y * u + at_x * v - at_x * up_y)


def test_every_mixture_holds_at_the_corners() -> None:
    given = product()
    ends = [(box.lower, box.upper) for box in (given.x, given.y)]
    for share in torch.linspace(-1, 1, 9, dtype=torch.float64):
        found = MIXTURE.planes(given, [share.expand(6, 1), -share.expand(6, 1)])
        for x, y in itertools.product(*ends):
            assert bool((at(found.lower, x, y) <= x * y + 1e-12).all())
            assert bool((at(found.upper, x, y) >= x * y - 1e-12).all())


def test_the_mean_is_the_mixture_at_zero() -> None:
    given = product()
    mean, mixed = mean_planes(given), MIXTURE.planes(given, [torch.zeros(6, 1, dtype=torch.float64)] * 2)
    for mine, theirs in ((mean.lower, mixed.lower), (mean.upper, mixed.upper)):
        torch.testing.assert_close(
            at(mine, given.x.lower, given.y.upper), at(theirs, given.x.lower, given.y.upper)
        )
