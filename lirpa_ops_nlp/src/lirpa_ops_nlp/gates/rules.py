"""Rules of products with a gate: `lirpa_nlp::sigmoid_tanh`, `sigmoid_mul`, `silu_mul` and `gelu_mul`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from lirpa_core.graph import Argument, Node, NodeKind, Ref
from lirpa_core.linear import Affine, Interval, Relaxation
from lirpa_core.linear.operators import Diagonal, LinearOp, align
from lirpa_core.operators import GELU, GELU_TANH, SIGMOID, SILU, TANH, any_over_broadcast
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules import Call, General, Slope, Slot, relative
from lirpa_core.rules.unary import LOWER, UPPER, Curve, supporting_slope
from lirpa_ops_nlp.gates.column_generation import Planes, both_planes, planes_of_slopes, stacked_with_mirror
from lirpa_ops_nlp.gates.following import Hints
from lirpa_ops_nlp.gates.surface import Box, CurveTimesValue, GatedTanh, GatedValue, Surface
from lirpa_ops_nlp.operators import gelu_mul, gelu_tanh_mul, sigmoid_mul, sigmoid_tanh, silu_mul

aten = torch.ops.aten


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
        """See `Surface.range`."""
        return self.surface.range(box_of(call, inputs))

    def relax(self, call: Call, inputs: tuple[Interval, ...]) -> Relaxation:
        """See `column_generation.both_planes`."""
        return self.relax_all([call], [inputs])[0]

    def relax_all(self, calls: Sequence[Call], inputs: Sequence[tuple[Interval, ...]]) -> list[Relaxation]:
        """`relax` of several calls, the elements of all side by side."""
        boxes = [box_of(call, given) for call, given in zip(calls, inputs, strict=True)]
        batch = max([box.lx.shape[0] for box in boxes])
        flat = [[end.expand(batch, *end.shape[1:]).reshape(batch, -1) for end in box] for box in boxes]
        whole = Box(*(ends[0] if len(ends) == 1 else torch.cat(ends, 1) for ends in zip(*flat, strict=True)))
        planes = both_planes(self.surface, whole, self.hints(stacked_with_mirror(whole)))
        sizes = [ends[0].shape[1] for ends in flat]
        sides = [[part.split(sizes, 1) for part in plane] for plane in planes]
        found = []
        for i, (call, box) in enumerate(zip(calls, boxes, strict=True)):
            below, above = (Planes(*(part[i].reshape(batch, *call.shape) for part in side)) for side in sides)
            found.append(Relaxation(_affine(call, below, box), _affine(call, above, box)))
        return found

    def choices(self, call: Call, inputs: tuple[Interval, ...]) -> tuple[Slope, ...]:
        """The slopes by either variable, below and above, within those that the surface itself has over the box."""
        box = box_of(call, inputs)
        below, above = both_planes(self.surface, box, self.hints(stacked_with_mirror(box)))
        xs = torch.stack([box.lx, box.lx / 2 + box.ux / 2, box.ux])  # [3, ..]
        ys = torch.stack([box.ly, box.ly / 2 + box.uy / 2, box.uy])
        shape = (3, 3, *xs.shape[1:])
        seen = self.surface.jet(xs.unsqueeze(1).expand(shape), ys.unsqueeze(0).expand(shape))
        found = []
        for plane in (below, above):
            for start, slope, moves in (
                (plane.a, seen.x, box.lx < box.ux),
                (plane.b, seen.y, box.ly < box.uy),
            ):
                least, greatest = slope.amin((0, 1)).minimum(start), slope.amax((0, 1)).maximum(start)
                found.append(
                    Slope(start, torch.where(moves, least, start), torch.where(moves, greatest, start))
                )
        return tuple(found)

    def affine_with(self, call: Call, inputs: tuple[Interval, ...], slopes: Sequence[Tensor]) -> Relaxation:
        """The tightest planes of given slopes, of the plane below and of the plane above."""
        box = box_of(call, inputs)
        below, above = planes_of_slopes(self.surface, box, (slopes[0], slopes[1]), (slopes[2], slopes[3]))
        return Relaxation(_affine(call, below, box), _affine(call, above, box))

    def unstable_inputs(self, call: Call, inputs: tuple[Interval, ...]) -> tuple[Tensor | None, ...]:
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


def _hints_of_product(curve: Curve, box: Box) -> Hints:
    """Slopes `(y·k, v)` at both corners and in the middle, `k` of the line of `f` on the side that the sign of `y` asks for."""
    low, up = (supporting_slope(curve, box.lx, box.ux, side) for side in (LOWER, UPPER))
    ends = curve.hull(box.lx, box.ux)
    middle = (box.ly / 2 + box.uy / 2, (ends[0] + ends[1]) / 2)
    corners = [(box.ly, ends[0]), (box.uy, ends[1]), middle]
    return tuple((y * torch.where(y >= 0, low, up), s) for y, s in corners)


def _hints_of_tanh(box: Box) -> Hints:
    k = supporting_slope(TANH, box.ly, box.uy, LOWER)
    inner = box._replace(ly=torch.tanh(box.ly), uy=torch.tanh(box.uy))
    return tuple((a, s * k) for a, s in _hints_of_product(SIGMOID, inner))


SIGMOID_MUL = Gate(GatedValue(), partial(_hints_of_product, SIGMOID))
SIGMOID_TANH = Gate(GatedTanh(), _hints_of_tanh)
#: `|f′|` is at most 1.0998 for SiLU, 1.129 for both forms of GELU.
SILU_MUL = Gate(CurveTimesValue(SILU, 1.13), partial(_hints_of_product, SILU))
GELU_MUL = Gate(CurveTimesValue(GELU, 1.13), partial(_hints_of_product, GELU))
GELU_TANH_MUL = Gate(CurveTimesValue(GELU_TANH, 1.13), partial(_hints_of_product, GELU_TANH))


def gated_product(node: Node, before: Mapping[str, Node]) -> Node | None:
    """A product one of whose factors is SiLU or GELU of something: SwiGLU and GEGLU feed-forward layers."""
    values = [a.value for a in node.arguments]
    if len(values) != 2 or not all(isinstance(v, Ref) for v in values):
        return None
    for gate, other in (values, values[::-1]):
        activation = before[gate.name]
        if before[other.name].kind not in {NodeKind.OPERATOR, NodeKind.INPUT}:
            continue
        given = {a.name: a.value for a in activation.arguments}
        target = _PRODUCTS.get((activation.target, given.get("approximate")))
        if target is not None:
            arguments = (Argument("self", given["self"]), Argument("other", other))
            return dataclasses.replace(node, target=target, arguments=arguments)
    return None


_PRODUCTS = {
    (aten.silu.default, None): silu_mul,
    (aten.gelu.default, "none"): gelu_mul,
    (aten.gelu.default, "tanh"): gelu_tanh_mul,
}


def register(registry: OperatorRegistry) -> None:
    """Register this file's rules, and where they take the place of a product."""
    for op, gate in (
        (sigmoid_mul, SIGMOID_MUL),
        (sigmoid_tanh, SIGMOID_TANH),
        (silu_mul, SILU_MUL),
        (gelu_mul, GELU_MUL),
        (gelu_tanh_mul, GELU_TANH_MUL),
    ):
        rule = General(
            ("self", "other"), gate.interval, gate.relax, gate.unstable_inputs, affine_all=gate.relax_all,
            choices=gate.choices, affine_with=gate.affine_with, continuous=True,
        )  # fmt: skip
        registry.register(op, rule)
    # The factors, each off by 16 units, and their product.
    for op in (sigmoid_mul, sigmoid_tanh):
        registry.allowance(op, relative(48))
    registry.fuse(aten.mul.Tensor, gated_product)
