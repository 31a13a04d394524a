"""α-CROWN moves whatever slopes a rule states, also those of an operator with two operands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import Diagonal
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.plugins import default_registry
from lirpa_core.rules import Call, Rule, Slope

aten = torch.ops.aten


@dataclass(frozen=True)
class Mixtures(Rule):
    """`x · y` of two perturbed operands of the same shape: mixtures of McCormick's planes, one share a side."""

    start: float = 0.5

    def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        x, y = inputs
        corners = torch.stack([a * b for a in (x.lower, x.upper) for b in (y.lower, y.upper)])
        return Interval(corners.amin(0), corners.amax(0))

    def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
        return self.relax_with(call, inputs, [s.start for s in self.slopes(call, inputs)])

    def slopes(self, call: Call, inputs: tuple[Interval | None, ...]) -> tuple[Slope, ...]:
        assert inputs[0] is not None
        like = inputs[0].lower
        half = torch.full_like(like, self.start)
        return (Slope(half, torch.zeros_like(like), torch.ones_like(like)),) * 2

    def relax_with(
        self, call: Call, inputs: tuple[Interval | None, ...], slopes: Sequence[Tensor]
    ) -> Relaxation:
        x, y = inputs
        assert x is not None and y is not None

        def side(share: Tensor, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> Affine:
            (a, b), (c, d) = first, second  # corners in which the planes touch the product
            terms = share * b + (1 - share) * d, share * a + (1 - share) * c
            bias = -(share * a * b + (1 - share) * c * d)
            return Affine(tuple(Diagonal(k, s) for k, s in zip(terms, call.shapes, strict=True)), bias)

        below = side(slopes[0], (x.lower, y.lower), (x.upper, y.upper))
        above = side(slopes[1], (x.upper, y.lower), (x.lower, y.upper))
        return Relaxation(below, above)


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.a(x) * self.b(x))


def test_a_mixture_of_planes_is_optimized_and_stays_sound() -> None:
    torch.manual_seed(0)
    model, x = Gated().double().eval(), torch.rand(3, 4, dtype=torch.float64)
    registry = default_registry().with_rules({aten.mul.Tensor: Mixtures()})
    module = BoundedModule(model, x, registry=registry)
    given = BoundedTensor(x, PerturbationLpNorm(eps=0.4))
    with torch.no_grad():
        fixed = module.compute_bounds(x=(given,), method="CROWN")
        lower, upper = module.compute_bounds(x=(given,), method="CROWN-Optimized")
    assert bool((lower >= fixed[0] - 1e-12).all() and (upper <= fixed[1] + 1e-12).all())
    assert float((upper - lower).mean()) < 0.99 * float((fixed[1] - fixed[0]).mean())
    y = model(x + 0.4 * (2 * torch.rand(5000, 1, 4, dtype=torch.float64) - 1))
    corners = 0.4 * torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 4).double()
    y = torch.cat([y, model(x + corners[:, None])])
    assert bool((lower <= y.amin(0) + 1e-12).all() and (y.amax(0) <= upper + 1e-12).all())
