"""Rules of maximum and minimum, of two operands or along dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_core.graph import Shape
from lirpa_core.linear.infinite import separated
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import Diagonal, LinearOp, align
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.operators.conditions import any_over_broadcast
from lirpa_core.operators.positions import positions, with_positions
from lirpa_core.operators.reduction import kept_shape, reduced_dims
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.base import Slope
from lirpa_core.rules.call import Call, Slot
from lirpa_core.rules.general import General
from lirpa_core.rules.relaxations.maximum import (
    MaximumPlanes,
    maximum_choices,
    maximum_planes,
    maximum_planes_with,
    rivals,
)

aten = torch.ops.aten


@dataclass(frozen=True, eq=False)
class WeightedSum(LinearOp):
    """`Σ weight · x` over some dimensions, `y` having the shape `S_out` without or with them.

    Attributes:
        weight: `[B, *S_in]`; a leading one is shared by all examples.
        dims: Dimensions of `S_in` that are summed.
        shape: `S_out`.
    """

    weight: Tensor
    dims: tuple[int, ...]
    shape: Shape

    @property
    def in_shape(self) -> Shape:
        return tuple(self.weight.shape[1:])

    @property
    def out_shape(self) -> Shape:
        return self.shape

    @property
    def fan_in(self) -> int:
        return math.prod([self.in_shape[d] for d in self.dims])

    @property
    def fan_out(self) -> int:
        return 1

    def apply(self, x: Tensor, lead: int = 1) -> Tensor:
        return self._sum(self.weight * x, lead)

    def apply_abs(self, x: Tensor, lead: int = 1) -> Tensor:
        return self._sum(self.weight.abs() * x, lead)

    def apply_split(self, lower: Tensor, upper: Tensor, lead: int = 1) -> tuple[Tensor, Tensor]:
        positive = self.weight >= 0
        low = self._sum(self.weight * torch.where(positive, lower, upper), lead)
        return low, self._sum(self.weight * torch.where(positive, upper, lower), lead)

    def transpose(self, A: Tensor) -> Tensor:
        return A.reshape(*A.shape[:2], *kept_shape(self.in_shape, self.dims)) * self.weight

    def _sum(self, x: Tensor, lead: int) -> Tensor:
        out = x.sum([d + lead for d in self.dims]) if self.dims else x
        return out.reshape(*out.shape[:lead], *self.shape)


# ---------------------------------------------------------------------- of two operands


@dataclass(frozen=True)
class _Pairwise:
    """Bounds of the maximum of two operands; the minimum is the maximum upside down.

    Attributes:
        sign: 1 for the maximum, −1 for the minimum.
    """

    sign: int

    def bound(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        """The larger of the ends, exactly the range."""
        pick = torch.maximum if self.sign == 1 else torch.minimum
        (a, b), (c, d) = self._ends(call, "self", inputs), self._ends(call, "other", inputs)
        return Interval(_full(call, pick(a, c)), _full(call, pick(b, d)))

    def affine(self, call: Call, inputs: tuple[Interval, ...]) -> Relaxation:
        """See `maximum_planes`."""
        return self._relaxation(call, maximum_planes(*self._pairs(call, inputs)))

    def choices(self, call: Call, inputs: tuple[Interval, ...]) -> tuple[Slope, ...]:
        """See `maximum_choices`."""
        return maximum_choices(*self._pairs(call, inputs))

    def affine_with(self, call: Call, inputs: tuple[Interval, ...], slopes: Sequence[Tensor]) -> Relaxation:
        """See `maximum_planes_with`."""
        return self._relaxation(call, maximum_planes_with(*self._pairs(call, inputs), *slopes))

    def _relaxation(self, call: Call, planes: MaximumPlanes) -> Relaxation:
        under = self._side(call, planes.below, None)
        over = self._side(call, planes.above, self.sign * planes.bias)
        return Relaxation(under, over) if self.sign == 1 else Relaxation(over, under)

    def unstable_inputs(self, call: Call, inputs: tuple[Interval, ...]) -> tuple[Tensor | None, ...]:
        """See `rivals`."""
        open_ = rivals(*self._pairs(call, inputs))
        named = zip(("self", "other"), open_.unbind(-1), strict=True)
        found = {value.index: here for name, here in named if isinstance(value := call[name], Slot)}
        return tuple(any_over_broadcast(found[i], shape) for i, shape in enumerate(call.shapes))

    def _side(self, call: Call, weights: Tensor, bias: Tensor | None) -> Affine:
        """`weights · (x, y) + bias`; a constant operand goes to the bias."""
        terms: list[LinearOp | None] = [None] * len(call.shapes)
        for name, weight in zip(("self", "other"), weights.unbind(-1), strict=True):
            value = call[name]
            if isinstance(value, Slot):
                terms[value.index] = Diagonal(weight, call.shapes[value.index])
            else:
                fixed, _ = self._ends(call, name, ())
                part = torch.where(weight == 0, 0, weight * fixed)  # the constant may be infinite
                bias = part if bias is None else bias + part
        return Affine(tuple(terms), *separated(bias, call.infinite))

    def _ends(self, call: Call, name: str, inputs: tuple[Interval, ...]) -> tuple[Tensor, Tensor]:
        value, rank = call[name], len(call.shape)
        if isinstance(value, Slot):
            box = inputs[value.index]
            return align(box.lower, 1, rank), align(box.upper, 1, rank)
        fixed = align(value.value if value.batched else value.value[None], 1, rank).to(call.dtype)
        return fixed, fixed

    def _pairs(self, call: Call, inputs: tuple[Interval, ...]) -> tuple[Tensor, Tensor]:
        """Both operands' ends side by side, `[B, *S, 2]` each; turned upside down for the minimum."""
        (a, b), (c, d) = self._ends(call, "self", inputs), self._ends(call, "other", inputs)
        a, b, c, d = torch.broadcast_tensors(*(_full(call, end) for end in (a, b, c, d)))
        low, up = torch.stack([a, c], -1), torch.stack([b, d], -1)
        return (low, up) if self.sign == 1 else (-up, -low)


# ---------------------------------------------------------------------- along dimensions


@dataclass(frozen=True)
class _Along:
    """Bounds of the maximum (`sign` 1) or minimum (−1) along dimensions."""

    sign: int

    def bound(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        """The largest of the ends, exactly the range."""
        (x,) = inputs
        dims = [d + 1 for d in reduced_dims(call)]
        if not dims:
            return x
        pick = torch.amax if self.sign == 1 else torch.amin
        shape = (x.lower.shape[0], *call.shape)
        return Interval(pick(x.lower, dims).reshape(shape), pick(x.upper, dims).reshape(shape))

    def affine(self, call: Call, inputs: tuple[Interval, ...]) -> Relaxation:
        """See `maximum_planes`."""
        (x,) = inputs
        dims = reduced_dims(call)
        if not dims:
            one = Diagonal(torch.ones_like(x.lower), call.shapes[0])
            return Relaxation.exactly(Affine((one,)))
        return self._relaxation(call, x, dims, maximum_planes(*self._lines(x, dims)))

    def choices(self, call: Call, inputs: tuple[Interval, ...]) -> tuple[Slope, ...]:
        """See `maximum_choices`."""
        (x,) = inputs
        dims = reduced_dims(call)
        return maximum_choices(*self._lines(x, dims)) if dims else ()

    def affine_with(self, call: Call, inputs: tuple[Interval, ...], slopes: Sequence[Tensor]) -> Relaxation:
        """See `maximum_planes_with`."""
        (x,) = inputs
        dims = reduced_dims(call)
        return self._relaxation(call, x, dims, maximum_planes_with(*self._lines(x, dims), *slopes))

    def _relaxation(
        self, call: Call, x: Interval, dims: tuple[int, ...], planes: MaximumPlanes
    ) -> Relaxation:
        batch = planes.below.shape[0]
        below, above = (
            _spread(weight, torch.Size([batch, *x.lower.shape[1:]]), dims)
            for weight in (planes.below, planes.above)
        )
        bias = self.sign * planes.bias.reshape(batch, *call.shape)
        under = Affine((WeightedSum(below, dims, call.shape),))
        over = Affine((WeightedSum(above, dims, call.shape),), *separated(bias, call.infinite))
        return Relaxation(under, over) if self.sign == 1 else Relaxation(over, under)

    def unstable_inputs(self, call: Call, inputs: tuple[Interval, ...]) -> tuple[Tensor | None, ...]:
        """See `rivals`."""
        (x,) = inputs
        dims = reduced_dims(call)
        return (_spread(rivals(*self._lines(x, dims)), x.lower.shape, dims) if dims else None,)

    def asked(self, call: Call) -> tuple[int | None, list[int]]:
        """The dimension, or None for all of it, and the rank of the extreme element."""
        shape = call.shapes[0]
        dim = call.arguments.get("dim")
        if dim is None or not shape:
            return None, [math.prod(shape) - 1 if self.sign == 1 else 0]
        return dim % len(shape), [shape[dim] - 1 if self.sign == 1 else 0]

    def _lines(self, x: Interval, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """The ends with the reduced dimensions last, as one; turned upside down for the minimum."""
        low, up = (x.lower, x.upper) if self.sign == 1 else (-x.upper, -x.lower)
        return _gathered(low, dims), _gathered(up, dims)


def _order(rank: int, dims: tuple[int, ...]) -> list[int]:
    along = [d + 1 for d in dims]
    return [d for d in range(rank) if d not in along] + along


def _gathered(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """`[B, *S]` to `[B, *kept, K]`: the given dimensions of `S` last, as one."""
    return x.permute(_order(x.dim(), dims)).flatten(x.dim() - len(dims))


def _spread(x: Tensor, shape: torch.Size, dims: tuple[int, ...]) -> Tensor:
    """Undo `_gathered`, for a result of this shape."""
    order = _order(len(shape), dims)
    return x.reshape([shape[d] for d in order]).permute([order.index(d) for d in range(len(shape))])


def _full(call: Call, x: Tensor) -> Tensor:
    return x.expand(x.shape[0], *call.shape)


def register(registry: OperatorRegistry) -> None:
    """Register this file's rules."""
    for sign, pairwise, along in (
        (1, (aten.maximum.default, aten.fmax.default), (aten.max.default, aten.max.dim, aten.amax.default)),
        (-1, (aten.minimum.default, aten.fmin.default), (aten.min.default, aten.min.dim, aten.amin.default)),
    ):
        pair, reduce = _Pairwise(sign), _Along(sign)
        for op in pairwise:
            registry.register(
                op,
                General(
                    ("self", "other"), pair.bound, pair.affine, pair.unstable_inputs,
                    choices=pair.choices, affine_with=pair.affine_with,
                ),
            )  # fmt: skip
        for op in along:
            values = General(
                ("self",), reduce.bound, reduce.affine, reduce.unstable_inputs,
                choices=reduce.choices, affine_with=reduce.affine_with,
            )  # fmt: skip
            registry.register(op, with_positions(values, reduce.asked))
        registry.register(aten.argmax.default if sign == 1 else aten.argmin.default, positions(reduce.asked))
