"""Logarithms, roots, reciprocals and other functions that bend one way on their domain."""

from __future__ import annotations

import math

import torch

from lirpa_core.operators.activation.domains import unless_above, unless_from, unless_one_sign
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.unary import CONCAVE, CONVEX, Arc, Curve, Unary


def _logarithm(base: float) -> Curve:
    scale = math.log(base)
    f = {2.0: torch.log2, 10.0: torch.log10}.get(base, torch.log)
    return Curve(
        rounding="relative",
        f=f,
        df=lambda x: 1 / (scale * x),
        arcs=(Arc(CONCAVE, inverse=lambda k: 1 / (scale * k.clamp(min=0))),),
        monotone=1,
        shape=CONCAVE,
        outside=unless_above(0),
    )


LOG = _logarithm(math.e)
LOG2 = _logarithm(2.0)
LOG10 = _logarithm(10.0)

LOG1P = Curve(
    rounding="relative",
    f=torch.log1p,
    df=lambda x: 1 / (1 + x),
    arcs=(Arc(CONCAVE, inverse=lambda k: 1 / k.clamp(min=0) - 1),),
    monotone=1,
    shape=CONCAVE,
    outside=unless_above(-1),
)

SQRT = Curve(
    rounding="relative",
    f=torch.sqrt,
    df=lambda x: 0.5 / x.sqrt(),
    arcs=(Arc(CONCAVE, inverse=lambda k: (0.5 / k.clamp(min=0)).square()),),
    monotone=1,
    shape=CONCAVE,
    outside=unless_from(0),
    singular=(0.0,),
)

RSQRT = Curve(
    rounding="relative",
    f=torch.rsqrt,
    df=lambda x: -0.5 * x.rsqrt() / x,
    arcs=(Arc(CONVEX, inverse=lambda k: (-2 * k).clamp(min=0).pow(-2 / 3)),),
    monotone=-1,
    shape=CONVEX,
    outside=unless_above(0),
)


RECIPROCAL = Curve(
    rounding="relative",
    f=torch.reciprocal,
    df=lambda x: -x.reciprocal().square(),
    arcs=(
        Arc(CONCAVE, end=0.0, inverse=lambda k: -(-k).clamp(min=0).rsqrt(), alone=True),
        Arc(CONVEX, start=0.0, inverse=lambda k: (-k).clamp(min=0).rsqrt(), alone=True),
    ),
    monotone=-1,
    outside=unless_one_sign,
)

ACOSH = Curve(
    rounding="relative",
    f=torch.acosh,
    df=lambda x: (x - 1).rsqrt() * (x + 1).rsqrt(),
    arcs=(Arc(CONCAVE, inverse=lambda k: torch.hypot(torch.ones_like(k), 1 / k.clamp(min=0))),),
    monotone=1,
    shape=CONCAVE,
    outside=unless_from(1),
    inside=2.0,
    singular=(1.0,),
)

COSH = Curve(
    rounding="relative",
    f=torch.cosh,
    df=torch.sinh,
    arcs=(Arc(CONVEX, inverse=torch.asinh),),
    extrema=(0.0,),
    shape=CONVEX,
)


def register(registry: OperatorRegistry) -> None:
    """Register the rules of this file."""
    aten = torch.ops.aten
    registry.register(aten.log.default, Unary(LOG))
    registry.register(aten.log2.default, Unary(LOG2))
    registry.register(aten.log10.default, Unary(LOG10))
    registry.register(aten.log1p.default, Unary(LOG1P))
    registry.register(aten.sqrt.default, Unary(SQRT))
    registry.register(aten.rsqrt.default, Unary(RSQRT))
    registry.register(aten.reciprocal.default, Unary(RECIPROCAL))
    registry.register(aten.acosh.default, Unary(ACOSH))
    registry.register(aten.cosh.default, Unary(COSH))
