"""Powers with a constant exponent: any integer, any real."""

from __future__ import annotations

import torch
from torch import Tensor

from lirpa_core.operators.activation.domains import unless_above, unless_from, unless_one_sign
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.call import Call
from lirpa_core.rules.unary import CONCAVE, CONVEX, Arc, Curve, Unary

SQUARE = Curve(
    rounding="relative",
    f=torch.square,
    df=lambda x: 2 * x,
    arcs=(Arc(CONVEX, inverse=lambda k: k / 2),),
    extrema=(0.0,),
    shape=CONVEX,
)


def power(call: Call) -> Curve:
    """`pow.Tensor_Scalar(self, exponent)`."""
    return _power(float(call["exponent"]))


def _power(p: float) -> Curve:
    if p == 0:
        return Curve(rounding="relative", f=torch.ones_like, df=torch.zeros_like, monotone=1)
    if p == 1:
        return Curve(rounding="relative", f=lambda x: x, df=torch.ones_like, monotone=1, homogeneous=True)
    if p == 2:
        return SQUARE
    if not p.is_integer():
        return _real_power(p)
    return _even_power(p) if p % 2 == 0 else _odd_power(p)


def _root(p: float, k: Tensor) -> Tensor:
    """The `x >= 0` at which the derivative of `x ** p` is `k`; the nearest end for a slope it lacks."""
    return (k / p).clamp(min=0).pow(1 / (p - 1))


def _real_power(p: float) -> Curve:
    bend = CONCAVE if 0 < p < 1 else CONVEX
    return Curve(
        rounding="relative",
        f=lambda x: x.pow(p),
        df=lambda x: p * x.pow(p - 1),
        arcs=(Arc(bend, inverse=lambda k: _root(p, k)),),
        monotone=1 if p > 0 else -1,
        shape=bend,
        outside=unless_from(0) if p > 0 else unless_above(0),
        singular=(0.0,) if p > 0 else (),
    )


def _even_power(p: float) -> Curve:
    arcs: tuple[Arc, ...] = (Arc(CONVEX, inverse=lambda k: k.sign() * _root(p, k.abs())),)
    if p < 0:
        arcs = (
            Arc(CONVEX, end=0.0, inverse=lambda k: -_root(p, -k), alone=True),
            Arc(CONVEX, start=0.0, inverse=lambda k: _root(p, k), alone=True),
        )
    return Curve(
        rounding="relative",
        f=lambda x: x.pow(p),
        df=lambda x: p * x.pow(p - 1),
        arcs=arcs,
        extrema=(0.0,) if p > 0 else (),
        shape=CONVEX,
        outside=None if p > 0 else unless_one_sign,
    )


def _odd_power(p: float) -> Curve:
    return Curve(
        rounding="relative",
        f=lambda x: x.pow(p),
        df=lambda x: p * x.pow(p - 1),
        arcs=(
            Arc(CONCAVE, end=0.0, inverse=lambda k: -_root(p, k), alone=p < 0),
            Arc(CONVEX, start=0.0, inverse=lambda k: _root(p, k), alone=p < 0),
        ),
        monotone=1 if p > 0 else -1,
        outside=None if p > 0 else unless_one_sign,
    )


def register(registry: OperatorRegistry) -> None:
    """Register the rules of this file."""
    aten = torch.ops.aten
    registry.register(aten.square.default, Unary(SQUARE))
    registry.register(aten.pow.Tensor_Scalar, Unary(power))
