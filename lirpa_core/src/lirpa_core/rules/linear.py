"""The linear family: operators that are affine, jointly, in some of their arguments."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lirpa_core.errors import UnsupportedOperandError
from lirpa_core.graph import Shape
from lirpa_core.linear.infinite import separated
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import LinearOp, align, sum_to, times_dense
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.linear.rounding import Accuracy
from lirpa_core.rules.base import Rule
from lirpa_core.rules.call import Call, Slot
from lirpa_core.rules.transposition import linear_part, transpose


class LinearNative(ABC):
    """Hand-written code for one linear operator, where `vmap` of the operator is too slow."""

    def evaluate(self, call: Call, operands: Sequence[Tensor], lead: int) -> Tensor:
        """The whole affine operator on operands `[*L, B, *S_i]`: `[*L, B, *S]`.

        The default is for operators with one operand that add nothing of their own.
        """
        return self.part(call, 0, operands[0], lead)

    @abstractmethod
    def part(self, call: Call, slot: int, x: Tensor, lead: int) -> Tensor:
        """The linear part in one operand: `[*L, B, *S_i]` to `[*L, B, *S]`."""

    @abstractmethod
    def transpose(self, call: Call, slot: int, A: Tensor) -> Tensor:
        """The transpose of that part: `[R, B, *S]` to `[R, B, *S_i]`."""

    def keeps_vectors(self, call: Call) -> bool:
        """Whether each vector of the output along the last dimension is one of the operand."""
        return False


def positive(call: Call, slot: int) -> int | None:
    """Sign of operators all of whose coefficients are non-negative: the default."""
    return 1


def negative(call: Call, slot: int) -> int | None:
    """Sign of operators all of whose coefficients are non-positive."""
    return -1


def mixed(call: Call, slot: int) -> int | None:
    """Sign of operators with coefficients of both signs, or of unknown sign."""
    return None


@dataclass(frozen=True)
class Linear(Rule):
    """Rule of an operator that is affine in the arguments named by `over`, jointly.

    Attributes:
        over: Names of the tensor arguments (or tensor lists) that may be perturbed.
        sign: `(call, slot) -> +1 | -1 | None`: the sign that all coefficients of a slot share;
            None where they differ (intervals then write the matrix out, so give a sign if you can).
        offset: Whether the operator adds a constant although no argument in `over` is constant
            (a padding value, say), or how to tell from the call.
        selects: Whether every output element is one input element, no element used twice: views,
            permutations and slices. Elements that varied independently still do so then.
        native: Hand-written evaluation and transpose; default: `vmap` of the operator and its VJP.
        operator: `(call, slot) -> LinearOp`: the linear part in one operand, where a more telling operator exists
            than one that is evaluated through the call; for operators that add nothing of their own.
        validate: Raises an error for a call that cannot be bounded, where `refuse` cannot say enough.
        refuse: Says why a call cannot be bounded, or None; for options that the rule does not cover.
    """

    over: tuple[str, ...]
    sign: Callable[[Call, int], int | None] = positive
    offset: bool | Callable[[Call], bool] = False
    selects: bool = False
    native: LinearNative | None = None
    refuse: Callable[[Call], str | None] | None = None
    operator: Callable[[Call, int], LinearOp] | None = None
    validate: Callable[[Call], None] | None = None

    family = "linear"
    continuous = True

    def check(self, call: Call) -> None:
        """See `Rule.check`."""
        refuse_slots_outside(call, self.over)
        refuse_because(call, self.refuse)
        if self.validate is not None:
            self.validate(call)

    def is_affine(self, call: Call) -> bool:
        """See `Rule.is_affine`."""
        return True

    def needs_interval(self, call: Call) -> tuple[bool, ...]:
        """See `Rule.needs_interval`."""
        return (False,) * len(call.shapes)

    def unstable_inputs(self, call: Call, inputs: tuple[Interval | None, ...]) -> tuple[Tensor | None, ...]:
        """See `Rule.unstable_inputs`."""
        return (None,) * len(call.shapes)

    def accuracy(self, call: Call) -> Accuracy:
        """See `Rule.accuracy`."""
        operators = [self._operator(call, i) for i in range(len(call.shapes))]
        terms = sum([op.fan_in for op in operators]) + len(operators)
        if self.selects:
            return Accuracy(terms, "exact")
        return Accuracy(terms, "ends" if all([op.splits_ends for op in operators]) else "box")

    def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        """See `Rule.interval`: exact for independent operands, one pass an end."""
        if self.operator is not None:
            return self._by_operators(call, inputs)
        signs = [self.sign(call, i) for i in range(len(inputs))]
        if None not in signs and len(inputs) == 1 and not inputs[0].has_ends:
            assert inputs[0].known_midpoint_radius is not None
            center, radius = inputs[0].known_midpoint_radius
            radius = StructuralOp(call, 0, self).apply_abs(radius)
            return Interval.from_midpoint_radius(self._evaluate(call, [center]), radius)
        if None not in signs:
            ends = [
                (x.lower, x.upper) if s == 1 else (x.upper, x.lower)
                for x, s in zip(inputs, signs, strict=True)
            ]
            lower = self._evaluate(call, [low for low, _ in ends])
            upper = self._evaluate(call, [up for _, up in ends])
            return Interval(lower, upper)
        return self._by_operators(call, inputs)

    def _by_operators(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        bias = self._bias(call)
        lower = upper = torch.zeros((), dtype=call.dtype, device=call.device) if bias is None else bias
        for i, x in enumerate(inputs):
            low, up = self._operator(call, i).apply_split(x.lower, x.upper)
            lower, upper = lower + low, upper + up
        return Interval(lower, upper)

    def _operator(self, call: Call, slot: int) -> LinearOp:
        return StructuralOp(call, slot, self) if self.operator is None else self.operator(call, slot)

    def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
        """See `Rule.relax`: the operator itself."""
        terms = tuple([self._operator(call, i) for i in range(len(call.shapes))])
        return Relaxation.exactly(Affine(terms, *separated(self._bias(call), call.infinite)))

    def _evaluate(self, call: Call, operands: Sequence[Tensor]) -> Tensor:
        if self.native is not None:
            return self.native.evaluate(call, operands, 1)
        return call.evaluate(operands)

    def has_offset(self, call: Call) -> bool:
        """Whether the operator adds a constant of its own."""
        return self.offset(call) if callable(self.offset) else self.offset

    def _bias(self, call: Call) -> Tensor | None:
        if not self.has_offset(call) and all(_only_slots(call[name]) for name in self.over):
            return None
        return self._evaluate(call, call.zeros())


@dataclass(frozen=True, eq=False)
class StructuralOp(LinearOp):
    """The linear part of a `Linear` rule's operator in one of its operands."""

    call: Call
    slot: int
    rule: Linear

    @property
    def in_shape(self) -> Shape:
        return self.call.shapes[self.slot]

    @property
    def out_shape(self) -> Shape:
        return self.call.shape

    @property
    def key(self) -> Any:
        return self.call.node.target

    @property
    def monomial(self) -> bool:
        return self.rule.selects

    @property
    def fan_in(self) -> int:
        return 1 if self._copies else math.prod(self.in_shape)

    @property
    def fan_out(self) -> int:
        if self.monomial:
            return 1
        ratio = math.prod(self.out_shape) // max(1, math.prod(self.in_shape))
        return max(1, ratio) if self._copies else math.prod(self.out_shape)

    @property
    def splits_ends(self) -> bool:
        return self.rule.sign(self.call, self.slot) is not None

    @property
    def _copies(self) -> bool:
        """Whether every output is one input: nothing is summed."""
        return self.rule.selects or isinstance(self.rule.native, Broadcast)

    def _part(self) -> Call:
        return linear_part(self.call, self.slot, self.rule.over)

    def apply(self, x: Tensor, lead: int = 1) -> Tensor:
        if self.rule.native is not None:
            return self.rule.native.part(self.call, self.slot, x, lead)
        part = self._part()
        out = part.evaluate([x], lead)
        if self.rule.has_offset(self.call):
            out = out - part.evaluate([x.new_zeros(1, *self.in_shape)])
        return out

    def apply_abs(self, x: Tensor, lead: int = 1) -> Tensor:
        sign = self.rule.sign(self.call, self.slot)
        if sign is None:
            return times_dense(self.matrix(x.dtype, x.device).abs(), x, self.in_shape, lead)
        return self.apply(x, lead) if sign == 1 else -self.apply(x, lead)

    def apply_split(self, lower: Tensor, upper: Tensor, lead: int = 1) -> tuple[Tensor, Tensor]:
        sign = self.rule.sign(self.call, self.slot)
        if sign is None:
            return super().apply_split(lower, upper, lead)
        low, up = self.apply(lower, lead), self.apply(upper, lead)
        return (low, up) if sign == 1 else (up, low)

    def transpose(self, A: Tensor) -> Tensor:
        if self.rule.native is not None:
            return self.rule.native.transpose(self.call, self.slot, A)
        return transpose(self._part(), A)


class Broadcast(LinearNative):
    """Native code of what only broadcasts an operand to the output, dimensions aligned at the end."""

    def part(self, call: Call, slot: int, x: Tensor, lead: int) -> Tensor:
        return align(x, lead, len(call.shape)).expand(*x.shape[:lead], *call.shape)

    def transpose(self, call: Call, slot: int, A: Tensor) -> Tensor:
        return sum_to(A, call.shapes[slot], lead=2)

    def keeps_vectors(self, call: Call) -> bool:
        """Whether the last dimension is not one that is broadcast."""
        return call.shapes[0][-1:] == call.shape[-1:] != ()


def refuse_because(call: Call, reason: Callable[[Call], str | None] | None) -> None:
    """Refuse a call for the reason that a rule's `refuse` gives.

    Raises:
        UnsupportedOperandError: With the reason and the node.
    """
    because = None if reason is None else reason(call)
    if because is not None:
        raise UnsupportedOperandError(f"{call}: {because}")


def refuse_slots_outside(call: Call, allowed: Sequence[str]) -> None:
    """Refuse a perturbed operand in an argument that the rule treats as constant.

    Raises:
        UnsupportedOperandError: Naming the argument and the node.
    """
    for name, value in call.arguments.items():
        if name not in allowed and _has_slot(value):
            raise UnsupportedOperandError(
                f"argument '{name}' of {call} depends on a perturbed tensor, but the rule of this operator "
                f"takes perturbed tensors only as {', '.join(map(repr, allowed))}. Compute '{name}' from "
                "unperturbed tensors, or register a rule that covers this case."
            )


def _has_slot(value: Any) -> bool:
    if isinstance(value, tuple):
        return any(_has_slot(item) for item in value)
    return isinstance(value, Slot)


def _only_slots(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(_only_slots(item) for item in value)
    return isinstance(value, Slot) or value is None
