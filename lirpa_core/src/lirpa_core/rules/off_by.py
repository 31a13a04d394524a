"""Operators that PyTorch computes less accurately than to a few units of the last digit: their bounds hold of what it computes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.rules.base import Slope
from lirpa_core.rules.call import Call
from lirpa_core.rules.wrapped import Wrapped


@dataclass(frozen=True)
class OffBy(Wrapped):
    """A rule whose bounds are moved apart by what the operator's kernel was seen to be off by.

    Attributes:
        relative: That, relative to the largest value on the box.
        absolute: A part of it that does not depend on the value.
    """

    relative: Callable[[Call], float]
    absolute: float = 0.0

    def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        """The rule's interval, and the error."""
        found, off = self._off(call, inputs)
        return Interval(found.lower - off, found.upper + off)

    def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
        """The rule's planes, and the error."""
        return self._with_error(call, inputs, self.rule.relax(call, inputs))

    def slopes(self, call: Call, inputs: tuple[Interval | None, ...]) -> tuple[Slope, ...]:
        """As the rule inside."""
        return self.rule.slopes(call, inputs)

    def relax_with(
        self, call: Call, inputs: tuple[Interval | None, ...], slopes: Sequence[Tensor]
    ) -> Relaxation:
        """As `relax`, with given slopes."""
        return self._with_error(call, inputs, self.rule.relax_with(call, inputs, slopes))

    def _with_error(self, call: Call, inputs: tuple[Interval | None, ...], found: Relaxation) -> Relaxation:
        _, off = self._off(call, tuple([x for x in inputs if x is not None]))
        return Relaxation(_moved(found.lower, -off), _moved(found.upper, off))

    def _off(self, call: Call, inputs: tuple[Interval, ...]) -> tuple[Interval, Tensor]:
        found = self.rule.interval(call, inputs)
        return found, self.relative(call) * found.lower.abs().maximum(found.upper.abs()) + self.absolute


def _moved(side: Affine, off: Tensor) -> Affine:
    return dataclasses.replace(side, bias=off if side.bias is None else side.bias + off)
