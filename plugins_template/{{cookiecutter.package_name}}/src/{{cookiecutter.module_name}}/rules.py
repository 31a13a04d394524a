"""How lirpa bounds the operators of `functions`: one rule of each family.

Bounds of values have the shape `[B, *S]`, examples first; the operators see one example, of shape `S`.
"""

from __future__ import annotations

import torch
from lirpa_core.rules import (
    CONCAVE,
    CONVEX,
    Affine,
    Arc,
    Bilinear,
    Call,
    Curve,
    Diagonal,
    General,
    Interval,
    Linear,
    Relaxation,
    Unary,
    mixed,
    smooth,
)
from torch import Tensor

from {{ cookiecutter.module_name }}.functions import Squash, bump

#: Linear in `x`, with coefficients of both signs. Everything else follows.
DIFFERENCES = Linear(("x",), sign=mixed)

#: Linear in `x` and in `y`.
PAIRWISE = Bilinear("x", "y")


def squash(module: Squash) -> Unary:
    """The rule of one module: the function, where it bends, and where it has a given slope."""
    s = module.sharpness

    def slope(x: Tensor) -> Tensor:
        return (1 + s * x.abs()) ** -2

    def at_slope(k: Tensor) -> Tensor:
        return (k.clamp(0, 1).rsqrt() - 1) / s  # the place on the right; infinite for a slope of zero

    left = Arc(CONVEX, end=0.0, inverse=lambda k: -at_slope(k))
    right = Arc(CONCAVE, start=0.0, inverse=at_slope)
    return Unary(Curve(lambda x: x / (1 + s * x.abs()), slope, arcs=(left, right), monotone=1, inside=0.0))


#: There is no closed form for the place with a given slope; the inflections are enough.
BUMP = smooth(bump, lambda x: -2 * x * bump(x), inflections=[-(0.5**0.5), 0.5**0.5])


def length_interval(call: Call, inputs: tuple[Interval, ...]) -> Interval:
    """The length at the nearest and at the farthest point from zero."""
    nearest, farthest = zip(*(_distances(box) for box in _both(call, inputs).values()), strict=True)
    return Interval(_hypot(*nearest), _hypot(*farthest))


def length_lines(call: Call, inputs: tuple[Interval, ...]) -> Relaxation:
    """Below, a tangent plane: the length is convex. Above, a constant, which could be tightened."""
    boxes = _both(call, inputs)
    h = _hypot(*(box.midpoint for box in boxes.values()))
    safe = torch.where(h > 0, h, 1)
    zero = torch.zeros_like(h)
    tangent: list[Diagonal] = []  # in the order of `inputs`
    flat: list[Diagonal] = []
    bias = zero
    for name, box in boxes.items():
        slot = call.slot(name)
        if slot is None:
            bias = bias + box.midpoint / safe * box.midpoint
        else:
            tangent.append(Diagonal(box.midpoint / safe, call.shapes[slot]))
            flat.append(Diagonal(zero, call.shapes[slot]))
    upper = length_interval(call, inputs).upper
    return Relaxation(Affine(tuple(tangent), bias), Affine(tuple(flat), upper))


def _both(call: Call, inputs: tuple[Interval, ...]) -> dict[str, Interval]:
    """The box of each argument; one that no perturbation reaches is a single point."""
    boxes = {}
    for name in ("x", "y"):
        slot = call.slot(name)
        if slot is not None:
            boxes[name] = inputs[slot]
        else:
            constant = call[name]
            value = constant.value if constant.batched else constant.value.unsqueeze(0)
            boxes[name] = Interval(value, value)
    return boxes


def _hypot(x: Tensor, y: Tensor) -> Tensor:
    """The length, with a gradient of zero (not NaN) at zero: bounds have to be differentiable."""
    zero = (x == 0) & (y == 0)
    return torch.where(zero, 0, torch.hypot(torch.where(zero, 1, x), torch.where(zero, 1, y)))


def _distances(box: Interval) -> tuple[Tensor, Tensor]:
    """The least and the greatest distance of each element from zero."""
    return box.lower.maximum(-box.upper).clamp(min=0), box.upper.maximum(-box.lower)


#: Neither linear nor of one operand: the author states an interval and two affine functions.
LENGTH = General(("x", "y"), bound=length_interval, affine=length_lines)
