"""Rules of choices: `where`, with a constant or a perturbed condition, and the logic of masks.

The bounds of a mask are those of its values 0 and 1, in the element type of what it was computed from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lirpa_core.linear.infinite import separated
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import Diagonal, align
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.linear.rounding import Accuracy
from lirpa_core.operators.reduction import reduced_dims
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.base import Rule
from lirpa_core.rules.call import Call, Const, Slot
from lirpa_core.rules.general import General
from lirpa_core.rules.linear import refuse_slots_outside

aten = torch.ops.aten


class Truth(NamedTuple):
    """Three-valued truth of a mask: booleans that broadcast to `[B, *S]`."""

    surely: Tensor
    possibly: Tensor


def truth(call: Call, name: str, inputs: tuple[Interval | None, ...]) -> Truth:
    """What is known of an argument as a mask: any number but zero is true."""
    value, rank = call[name], len(call.shape)
    if isinstance(value, Slot):
        box = inputs[value.index]
        assert box is not None
        low, up = align(box.lower, 1, rank), align(box.upper, 1, rank)
        return Truth((low > 0) | (up < 0), (low != 0) | (up != 0))
    mask = _aligned(value, rank).bool()
    return Truth(mask, mask)


def _aligned(value: Const, rank: int) -> Tensor:
    """A constant operand, ready for arithmetic with `[B, *S]`."""
    return align(value.value, 1, rank) if value.batched else align(value.value[None], 1, rank)


@dataclass(frozen=True)
class Where(Rule):
    """`where(condition, self, other)`: linear where the condition is constant.

    With a perturbed condition the elements for which it is decided take their branch; the others
    lie in the hull of both.
    """

    def check(self, call: Call) -> None:
        """See `Rule.check`."""
        refuse_slots_outside(call, ("condition", "self", "other"))

    def is_affine(self, call: Call) -> bool:
        """See `Rule.is_affine`."""
        return call.slot("condition") is None

    def accuracy(self, call: Call) -> Accuracy:
        """See `Rule.accuracy`: elements are chosen."""
        return Accuracy(4, "exact")

    def needs_interval(self, call: Call) -> tuple[bool, ...]:
        """See `Rule.needs_interval`."""
        return (not self.is_affine(call),) * len(call.shapes)

    def unstable_inputs(self, call: Call, inputs: tuple[Interval | None, ...]) -> tuple[Tensor | None, ...]:
        """See `Rule.unstable_inputs`: everything about the elements whose condition is open."""
        if self.is_affine(call):
            return (None,) * len(call.shapes)
        mask = truth(call, "condition", inputs)
        unknown = mask.possibly & ~mask.surely
        unknown = unknown.expand(unknown.shape[0], *call.shape)
        return tuple(any_over_broadcast(unknown, shape) for shape in call.shapes)

    def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        """See `Rule.interval`."""
        mask = truth(call, "condition", inputs)
        (low, up), (other_low, other_up) = self._ends(call, "self", inputs), self._ends(call, "other", inputs)
        lower = torch.where(mask.surely, low, torch.where(mask.possibly, low.minimum(other_low), other_low))
        upper = torch.where(mask.surely, up, torch.where(mask.possibly, up.maximum(other_up), other_up))
        return Interval(_full(call, lower), _full(call, upper))

    def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
        """See `Rule.relax`."""
        mask = truth(call, "condition", inputs)
        chosen = {"self": mask.surely, "other": ~mask.possibly}
        terms: list[Diagonal | None] = [None] * len(call.shapes)
        bias: Tensor | None = None
        for name, where in chosen.items():
            value = call[name]
            if isinstance(value, Slot):
                slope = _full(call, where.to(call.dtype))
                terms[value.index] = Diagonal(slope, call.shapes[value.index])
            else:
                part = torch.where(where, _aligned(value, len(call.shape)), 0).to(call.dtype)
                bias = part if bias is None else bias + part
        if self.is_affine(call):
            fixed = None if bias is None else _full(call, bias)
            return Relaxation.exactly(Affine(tuple(terms), *separated(fixed, call.infinite)))
        low, up = self._ends(call, "self", inputs)
        other_low, other_up = self._ends(call, "other", inputs)
        unknown = mask.possibly & ~mask.surely
        lower = torch.where(unknown, low.minimum(other_low), 0 if bias is None else bias)
        upper = torch.where(unknown, up.maximum(other_up), 0 if bias is None else bias)
        shared = tuple(terms)
        below, above = (separated(_full(call, bias), call.infinite) for bias in (lower, upper))
        return Relaxation(Affine(shared, *below), Affine(shared, *above))

    def _ends(self, call: Call, name: str, inputs: tuple[Interval | None, ...]) -> tuple[Tensor, Tensor]:
        value, rank = call[name], len(call.shape)
        if isinstance(value, Slot):
            box = inputs[value.index]
            assert box is not None
            return align(box.lower, 1, rank), align(box.upper, 1, rank)
        fixed = _aligned(value, rank).to(call.dtype)
        return fixed, fixed


def any_over_broadcast(mask: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A mask `[B, *S]` seen from an operand of a shape that was broadcast to `S`: `[B, *shape]`."""
    extra = mask.dim() - 1 - len(shape)
    dims = [1 + i for i in range(extra)]
    dims += [1 + extra + i for i, n in enumerate(shape) if n == 1 and mask.shape[1 + extra + i] != 1]
    for dim in dims:
        mask = mask.any(dim, keepdim=True)
    return mask.reshape(mask.shape[0], *shape)


def _full(call: Call, x: Tensor) -> Tensor:
    return x.expand(x.shape[0], *call.shape)


# ---------------------------------------------------------------------- logic of masks


def logic(over: tuple[str, ...], combine: Callable[..., Truth]) -> General:
    """Rule of a logical operator; its bounds do not follow the operands, only their truth.

    Args:
        over: Its arguments.
        combine: From the truth of each to the truth of the result.
    """

    def bound(call: Call, inputs: tuple[Interval, ...]) -> Interval:
        result = combine(*(truth(call, name, inputs) for name in over))
        dtype = inputs[0].lower.dtype
        return Interval(_full(call, result.surely.to(dtype)), _full(call, result.possibly.to(dtype)))

    return dataclasses.replace(_constant_bounds(over, bound), refuse=_refuse_numbers)


def _refuse_numbers(call: Call) -> str | None:
    return (
        None if call.dtype == torch.bool else "it works on the bits of numbers; only masks can be perturbed"
    )


def _not(a: Truth) -> Truth:
    return Truth(~a.possibly, ~a.surely)


def _and(a: Truth, b: Truth) -> Truth:
    return Truth(a.surely & b.surely, a.possibly & b.possibly)


def _or(a: Truth, b: Truth) -> Truth:
    return Truth(a.surely | b.surely, a.possibly | b.possibly)


def _xor(a: Truth, b: Truth) -> Truth:
    return _or(_and(a, _not(b)), _and(_not(a), b))


# ---------------------------------------------------------------------- masks along dimensions


def reduced_logic(every: bool) -> General:
    """Rule of `all` (every element is true) or `any` (at least one is)."""

    def bound(call: Call, inputs: tuple[Interval, ...]) -> Interval:
        (x,) = inputs
        dims = [d + 1 for d in reduced_dims(call)]
        surely, possibly = (x.lower > 0) | (x.upper < 0), (x.lower != 0) | (x.upper != 0)
        for dim in dims:
            surely, possibly = (
                t.all(dim, keepdim=True) if every else t.any(dim, keepdim=True) for t in (surely, possibly)
            )
        shape = (x.lower.shape[0], *call.shape)
        return Interval(*(t.reshape(shape).to(x.lower.dtype) for t in (surely, possibly)))

    return _constant_bounds(("self",), bound)


def _constant_bounds(
    over: tuple[str, ...], bound: Callable[[Call, tuple[Interval, ...]], Interval]
) -> General:
    """Rule of an operator whose bounds do not follow the operands."""

    def affine(call: Call, inputs: tuple[Interval, ...]) -> Relaxation:
        box, none = bound(call, inputs), (None,) * len(inputs)
        return Relaxation(Affine(none, box.lower), Affine(none, box.upper))

    return General(over, bound, affine, precision=lambda call: Accuracy(4, "exact"))


# ---------------------------------------------------------------------- what is a number


def numbers(of_finite: bool) -> General:
    """Rule of a question about infinities and NaN, which has one answer for all finite numbers.

    Args:
        of_finite: That answer.
    """

    def bound(call: Call, inputs: tuple[Interval, ...]) -> Interval:
        (x,) = inputs
        known = x.lower.isfinite() & x.upper.isfinite()
        answer = torch.full_like(x.lower, float(of_finite))
        return Interval(torch.where(known, answer, 0), torch.where(known, answer, 1))

    return _constant_bounds(("self",), bound)


def _signbit(call: Call, inputs: tuple[Interval, ...]) -> Interval:
    """True below zero, and open at zero, which has two signs."""
    (x,) = inputs
    return Interval((x.upper < 0).to(x.lower.dtype), (x.lower <= 0).to(x.lower.dtype))


def register(registry: OperatorRegistry) -> None:
    """Register this file's rules."""
    registry.register(aten.where.self, Where())
    for name, combine in (("and", _and), ("or", _or), ("xor", _xor)):
        rule = logic(("self", "other"), combine)
        registry.register(getattr(aten, f"logical_{name}").default, rule)
        registry.register(getattr(aten, f"bitwise_{name}").Tensor, rule)
    registry.register(aten.logical_not.default, logic(("self",), _not))
    registry.register(aten.bitwise_not.default, logic(("self",), _not))
    for op in (aten.any.default, aten.any.dim, aten.any.dims):
        registry.register(op, reduced_logic(every=False))
    for op in (aten.all.default, aten.all.dim, aten.all.dims):
        registry.register(op, reduced_logic(every=True))
    for op in (aten.isnan.default, aten.isinf.default, aten.isposinf.default, aten.isneginf.default):
        registry.register(op, numbers(of_finite=False))
    registry.register(aten.isfinite.default, numbers(of_finite=True))
    registry.register(aten.signbit.default, _constant_bounds(("self",), _signbit))
