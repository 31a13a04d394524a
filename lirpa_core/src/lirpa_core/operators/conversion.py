"""Rules of conversions between element types: rounding, truncation, and what changes device or layout alone.

Rounding to a floating type with fewer digits is a rising staircase that stays close to the diagonal: within half the
distance of two numbers, `u·|x|` or half the smallest number (Higham, *Accuracy and Stability of Numerical Algorithms*,
2nd ed., sec. 2.1). Over a box inside of one or two steps the staircase is bounded exactly.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from ctypes import c_float
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from lirpa_core.errors import UnsupportedOperandError
from lirpa_core.linear.coefficients import Coefficients, SelectedRows
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import LinearOp
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.linear.rounding import Accuracy
from lirpa_core.operators.activation.steps import TRUNC
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.base import Rule, Slope
from lirpa_core.rules.call import Call
from lirpa_core.rules.linear import Linear, LinearNative, StructuralOp
from lirpa_core.rules.precision import bounds_dtype, half_smallest, is_narrower, unit_roundoff
from lirpa_core.rules.unary import Curve, Jump, Point, Unary, clip

aten = torch.ops.aten


class Convert(LinearNative):
    """Native code of a conversion that changes no value: to a type that holds every number of the operand's."""

    def evaluate(self, call: Call, operands: Sequence[Tensor], lead: int) -> Tensor:
        return operands[0].to(_kept(call))

    def part(self, call: Call, slot: int, x: Tensor, lead: int) -> Tensor:
        return x.to(_kept(call))

    def transpose(self, call: Call, slot: int, A: Tensor) -> Tensor:
        return A.to(call.slot_dtype(slot))


def _kept(call: Call) -> torch.dtype:
    """The type that bounds of the result are kept in."""
    own = call.node.dtype
    return bounds_dtype(own, call.precision or (own if own.is_floating_point else call.slot_dtype(0)))


def convert_rows(op: LinearOp, A: SelectedRows) -> Coefficients:
    """Selected rows through a conversion."""
    assert isinstance(op, StructuralOp)
    return SelectedRows(A.index, A.values.to(op.call.slot_dtype(op.slot)), op.in_shape)


IDENTITY = Linear(("self",), selects=True, native=Convert())


@dataclass(frozen=True, eq=False)
class Rounding(Curve):
    """Rounding to the nearest number of a floating type, ties to even.

    Attributes:
        dtype: The type.
    """

    dtype: torch.dtype = torch.float32

    @property
    def jumps(self) -> bool:
        return True

    def vertices(self, lo: Tensor, hi: Tensor) -> tuple[Point, ...]:
        """The corners of a polygon around the graph: between its ends' values, and near the diagonal."""
        low, high = self.f(lo), self.f(hi)
        error = self.error(low, high)
        middle, slack = self._between(low, high)
        two = (low < high) & ((self.f(middle) == low) | (self.f(middle) == high))
        # Where the graph leaves its first value at the latest, and where it may reach its last one.
        leaves = clip(torch.where(two, middle + slack, low + error), lo, hi)
        reaches = clip(torch.where(two, middle - slack, high - error), lo, hi)
        return (
            (lo, torch.where(two, low, (lo + error).minimum(high))),
            (leaves, low),
            (reaches, high),
            (hi, torch.where(two, high, (hi - error).maximum(low))),
        )

    def error(self, low: Tensor, high: Tensor) -> Tensor:
        """How far rounding moves a number whose rounded value is in this range."""
        largest = low.abs().maximum(high.abs())
        error = (unit_roundoff(self.dtype) * largest).clamp(min=half_smallest(self.dtype))
        return error * (1 + 2**-20) if self._twice(low.dtype) else error

    def _between(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor | float]:
        """The tie between two neighbours, and how far from it the graph may still jump."""
        middle = (low / 2 + high / 2).detach()
        return middle, (2**-23 * middle.abs() if self._twice(low.dtype) else 0.0)

    def _twice(self, kept: torch.dtype) -> bool:
        """Whether kernels round twice: from float64 to float32 first."""
        return kept == torch.float64 and self.dtype != torch.float32

    def bent(self, lo: Tensor, hi: Tensor) -> Tensor:
        return self.f(lo) != self.f(hi)


@cache
def rounding(dtype: torch.dtype) -> Rounding:
    """The curve of rounding to a floating type. Gradients pass it as they pass PyTorch's own conversion."""
    limit = torch.finfo(dtype).max

    def f(x: Tensor) -> Tensor:
        at = x.detach()
        return x + (at.to(dtype).to(x.dtype) - at)  # exact: a number and its rounded value are close

    def outside(lo: Tensor, hi: Tensor) -> Tensor:
        return (lo < -limit) | (hi > limit)

    return Rounding(f=f, df=torch.zeros_like, monotone=1, outside=outside, dtype=dtype, rounding="exact")


@cache
def truncation(dtype: torch.dtype) -> Curve:
    """The curve of a conversion to whole numbers: towards zero, and undefined beyond their range."""
    info = torch.iinfo(dtype)

    def outside(lo: Tensor, hi: Tensor) -> Tensor:
        return (lo <= float(info.min) - 1) | (hi >= float(info.max) + 1)

    return dataclasses.replace(TRUNC, outside=outside, inside=0.0)


#: Conversion to a mask: whether a number is not zero.
NONZERO = Curve(
    rounding="exact", f=lambda x: (x != 0).to(x.dtype), df=torch.zeros_like, corners=(Jump(0.0, 1.0, 1.0),)
)


class Conversion(Rule):
    """Rule of a conversion to another element type, which what the two types are decides.

    Lines of rounding to float32 of what is bounded in float64, in a problem that is bounded in float32 otherwise, have
    slope one: coefficients change their type there.
    """

    family = "unary"

    #: Rounding is what the operator does, not an error of its evaluation.
    rounds = True

    def check(self, call: Call) -> None:
        """Refuse a second perturbed operand, and types that have no ordinary numbers."""
        if call.slot("self") is None or len(call.shapes) != 1:
            raise UnsupportedOperandError(f"{call}: only the tensor that is converted can be perturbed")
        own = call.node.dtype
        if own.is_complex or own == getattr(torch, "float8_e8m0fnu", None):
            raise UnsupportedOperandError(f"{call}: a conversion of perturbed values to {own} has no rule")

    def is_affine(self, call: Call) -> bool:
        """Whether every number of the operand's type is one of the result's."""
        return self._rule(call) is IDENTITY

    def needs_interval(self, call: Call) -> tuple[bool, ...]:
        """Rounding depends on the box."""
        return self._rule(call).needs_interval(call)

    def accuracy(self, call: Call) -> Accuracy:
        """As the rule of the conversion."""
        return self._rule(call).accuracy(call)

    def domain_violation(self, call: Call, inputs: tuple[Interval | None, ...]) -> Tensor | None:
        """Where the box holds numbers too large for the type."""
        return self._rule(call).domain_violation(call, inputs)

    def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        """Both ends converted: a conversion never decreases."""
        found = self._rule(call).interval(call, inputs)
        kept = _kept(call)
        if found.lower.dtype == kept:
            return found
        return Interval(found.lower.to(kept), found.upper.to(kept))

    def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
        """Lines that are close to the diagonal, or exact where the box is small."""
        rule = self._rule(call)
        if isinstance(rule, Unary) and self._changes_bounds(call):
            return self._diagonal(call, rule, inputs[0])
        return rule.relax(call, inputs)

    def relax_with(
        self, call: Call, inputs: tuple[Interval | None, ...], slopes: Sequence[Tensor]
    ) -> Relaxation:
        """The tightest lines of given slopes."""
        rule = self._rule(call)
        return rule.relax_with(call, inputs, slopes) if len(slopes) > 0 else self.relax(call, inputs)

    def slopes(self, call: Call, inputs: tuple[Interval | None, ...]) -> tuple[Slope, ...]:
        """Those of the rule; none where lines have slope one."""
        return () if self._changes_bounds(call) else self._rule(call).slopes(call, inputs)

    def unstable_inputs(self, call: Call, inputs: tuple[Interval | None, ...]) -> tuple[Tensor | None, ...]:
        """Boxes of more than one value."""
        return self._rule(call).unstable_inputs(call, inputs)

    def _rule(self, call: Call) -> Linear | Unary:
        own, given = call.node.dtype, call.dtypes[0] if call.dtypes else call.node.dtype
        return _rule_of(given, own)

    def _changes_bounds(self, call: Call) -> bool:
        return call.slot_dtype(0) != _kept(call)

    def _diagonal(self, call: Call, rule: Unary, box: Interval | None) -> Relaxation:
        kept = _kept(call)
        assert box is not None and isinstance(rule.curve, Curve)
        low, high = rule.curve.hull(box.lower, box.upper)
        if isinstance(rule.curve, Rounding):
            term = StructuralOp(call, 0, IDENTITY)
            error = (rule.curve.error(low, high) * (1 + 2**-20)).to(kept)
            return Relaxation(Affine((term,), -error), Affine((term,), error))
        return Relaxation(Affine((None,), low.to(kept)), Affine((None,), high.to(kept)))


@cache
def _rule_of(given: torch.dtype, own: torch.dtype) -> Linear | Unary:
    """The rule of a conversion from one type to another."""
    if own == torch.bool:
        return IDENTITY if given == torch.bool else Unary(NONZERO)
    if given in (torch.bool, own):
        return IDENTITY
    if own.is_floating_point:
        if given.is_floating_point:
            exact = (
                torch.promote_types(given, own) == own
                if not _is_float8(given, own)
                else not is_narrower(own, given)
            )
            return IDENTITY if exact else Unary(rounding(own))
        return Unary(rounding(own))
    if given.is_floating_point:
        return Unary(truncation(own))
    smaller, larger = torch.iinfo(given), torch.iinfo(own)
    return IDENTITY if larger.min <= smaller.min and smaller.max <= larger.max else Unary(truncation(own))


def _is_float8(*dtypes: torch.dtype) -> bool:
    return any([d.itemsize == 1 for d in dtypes])


CONVERT: Rule = Conversion()


def type_as(self: Tensor, other: Tensor) -> Tensor:
    """A conversion: of `other` only its element type and device enter."""
    return self.to(other.device, other.dtype)


def fake_quantize(self: Tensor, scale: float, zero_point: int, quant_min: int, quant_max: int) -> Tensor:
    """Rounding to multiples of `scale`, between two of them.

    PyTorch's kernel has the scale, its inverse and the multiples in float32, whatever the type of what it rounds.
    """
    scale = c_float(scale).value
    levels = torch.round(self * c_float(1.0 / scale).value) + zero_point
    multiples = levels.clamp(quant_min, quant_max) - zero_point
    if self.dtype == torch.float64:
        return (multiples.to(torch.float32) * scale).to(torch.float64)
    return multiples * scale


def fake_quantize_per_channel(
    self: Tensor, scale: Tensor, zero_point: Tensor, axis: int, quant_min: int, quant_max: int
) -> Tensor:
    """As `fake_quantize`, with a scale for each entry of a dimension."""
    shape = [1] * self.dim()
    shape[axis] = -1
    inverse = (
        torch.reciprocal(scale).reshape(shape).to(self.dtype)
    )  # rounded to the scale's own type, as by PyTorch's kernel
    scale, zero = scale.reshape(shape).to(self.dtype), zero_point.reshape(shape).to(self.dtype)
    levels = torch.round(self * inverse) + zero
    return (levels.clamp(quant_min, quant_max) - zero) * scale


# ---------------------------------------------------------------------- constants that look perturbed


def _number_like(number: Any) -> Any:
    def like(
        self: Tensor,
        *,
        dtype: Any = None,
        layout: Any = None,
        device: Any = None,
        pin_memory: Any = None,
        memory_format: Any = None,
    ) -> Tensor:
        return _full(self, self.shape, number, dtype, device)

    return like


def full_like(
    self: Tensor,
    fill_value: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: Any = None,
    memory_format: Any = None,
) -> Tensor:
    """A constant: of `self` only shape, element type and device enter."""
    return _full(self, self.shape, fill_value, dtype, device)


def _new_number(number: Any) -> Any:
    def new(
        self: Tensor,
        size: Any,
        *,
        dtype: Any = None,
        layout: Any = None,
        device: Any = None,
        pin_memory: Any = None,
    ) -> Tensor:
        return _full(self, size, number, dtype, device)

    return new


def new_full(
    self: Tensor,
    size: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: Any = None,
) -> Tensor:
    """A constant: of `self` only element type and device enter."""
    return _full(self, size, fill_value, dtype, device)


def _full(like: Tensor, size: Any, number: Any, dtype: Any, device: Any) -> Tensor:
    return torch.full(size, number, dtype=dtype or like.dtype, device=device or like.device)


def register(registry: OperatorRegistry) -> None:
    """Register this file's rules, kernels and decompositions."""
    registry.register(aten._to_copy.default, CONVERT)
    registry.kernel(aten._to_copy.default, SelectedRows, convert_rows)
    registry.decompose(aten.type_as.default, type_as)
    registry.decompose(aten.fake_quantize_per_tensor_affine.default, fake_quantize)
    registry.decompose(aten.fake_quantize_per_channel_affine.default, fake_quantize_per_channel)
    for op, function in (
        (aten.zeros_like.default, _number_like(0)),
        (aten.ones_like.default, _number_like(1)),
        (aten.full_like.default, full_like),
        (aten.new_zeros.default, _new_number(0)),
        (aten.new_ones.default, _new_number(1)),
        (aten.new_full.default, new_full),
    ):
        registry.decompose(op, function)
