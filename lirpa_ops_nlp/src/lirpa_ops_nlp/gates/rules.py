"""Rules of the gate products `lirpa_nlp::sigmoid_tanh` and `lirpa_nlp::sigmoid_mul`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_core.aten.activation.s_shaped import SIGMOID, TANH
from lirpa_core.aten.choice import any_over_broadcast
from lirpa_core.bounds.interval import Interval
from lirpa_core.bounds.linear_op import Diagonal, LinearOp, align
from lirpa_core.bounds.relaxation import Affine, Relaxation
from lirpa_core.registry import OperatorRegistry
from lirpa_core.rules.call import Call, Slot
from lirpa_core.rules.general import General
from lirpa_core.rules.unary import LOWER, UPPER, supporting_slope
from lirpa_ops_nlp.gates.planes import Planes, both_planes, stacked_with_mirror
from lirpa_ops_nlp.gates.surface import Box, GatedTanh, GatedValue, Surface
from lirpa_ops_nlp.operators import sigmoid_mul, sigmoid_tanh

Hints = tuple[tuple[Tensor, Tensor], ...]


@dataclass(frozen=True)
class Gate:
    """Bounds of `f(self, other)` on the box of one or both of its operands.

    Attributes:
        surface: `f`.
        hints: Slopes of McCormick's planes.
    """

    surface: Surface
    hints: Callable[[Box], Hints]

    def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        """`f` is linear or monotone in `y` and, for a fixed `y`, in `x`: the ends are at corners."""
        box = box_of(call, inputs)
        corners = [self.surface.value(x, y) for x in (box.lx, box.ux) for y in (box.ly, box.uy)]
        lower = corners[0].minimum(corners[1]).minimum(corners[2].minimum(corners[3]))
        upper = corners[0].maximum(corners[1]).maximum(corners[2].maximum(corners[3]))
        return Interval(lower, upper)

    def relax(self, call: Call, inputs: tuple[Interval, ...]) -> Relaxation:
        """See `planes.both_planes`."""
        box = box_of(call, inputs)
        below, above = both_planes(self.surface, box, self.hints(stacked_with_mirror(box)))
        return Relaxation(_affine(call, below, box), _affine(call, above, box))

    def loose(self, call: Call, inputs: tuple[Interval, ...]) -> tuple[Tensor | None, ...]:
        """Elements of which either operand moves."""
        box = box_of(call, inputs)
        moves = (box.lx < box.ux) | (box.ly < box.uy)
        return tuple(any_over_broadcast(moves, shape) for shape in call.shapes)


def box_of(call: Call, inputs: tuple[Interval, ...]) -> Box:
    """Both operands as boxes of the output's shape, `[B, *S]`; a constant is a box without width."""
    ends: list[Tensor] = []
    rank = len(call.shape)
    for name in ("self", "other"):
        value = call[name]
        if isinstance(value, Slot):
            box = inputs[value.index]
            ends += [align(box.lower, 1, rank), align(box.upper, 1, rank)]
        else:
            fixed = align(value.value if value.batched else value.value[None], 1, rank).to(call.dtype)
            ends += [fixed, fixed]
    batch = max(e.shape[0] for e in ends)
    return Box(*(e.expand(batch, *call.shape) for e in ends))


def _affine(call: Call, plane: Planes, box: Box) -> Affine:
    terms: list[LinearOp | None] = [None] * len(call.shapes)
    bias = plane.c
    for name, slope, fixed in (("self", plane.a, box.lx), ("other", plane.b, box.ly)):
        slot = call.slot(name)
        if slot is None:
            bias = bias + slope * fixed
        else:
            terms[slot] = Diagonal(slope, call.shapes[slot])
    return Affine(tuple(terms), bias)


def _corner(box: Box, y: Tensor) -> Tensor:
    """`∂/∂x` of `y·σ(x)` as McCormick's plane has it: `y` times the slope of the line on its side."""
    low, up = (supporting_slope(SIGMOID, box.lx, box.ux, side) for side in (LOWER, UPPER))
    return y * torch.where(y >= 0, low, up)


def _hints_of_value(box: Box) -> Hints:
    box = Box(*(t.detach() for t in box))
    gates = torch.sigmoid(box.lx), torch.sigmoid(box.ux)
    middle = (box.ly / 2 + box.uy / 2, (gates[0] + gates[1]) / 2)
    corners = [(box.ly, gates[0]), (box.uy, gates[1]), middle]
    return tuple((_corner(box, y), s) for y, s in corners)


def _hints_of_tanh(box: Box) -> Hints:
    box = Box(*(t.detach() for t in box))
    k = supporting_slope(TANH, box.ly, box.uy, LOWER)
    inner = box._replace(ly=torch.tanh(box.ly), uy=torch.tanh(box.uy))
    return tuple((a, s * k) for a, s in _hints_of_value(inner))


SIGMOID_MUL = Gate(GatedValue(), _hints_of_value)
SIGMOID_TANH = Gate(GatedTanh(), _hints_of_tanh)


def register(registry: OperatorRegistry) -> None:
    """Register this file's rules."""
    for op, gate in ((sigmoid_mul, SIGMOID_MUL), (sigmoid_tanh, SIGMOID_TANH)):
        registry.register(op, General(("self", "other"), gate.interval, gate.relax, gate.loose))
