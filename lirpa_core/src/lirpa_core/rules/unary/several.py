"""Rules of functions that have a curve where one operand is perturbed, and another rule where more are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from torch import Tensor

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.relaxation import Relaxation
from lirpa_core.linear.rounding import Accuracy
from lirpa_core.rules.base import Rule, Slope
from lirpa_core.rules.call import Call
from lirpa_core.rules.unary.rule import Unary


@dataclass(frozen=True)
class UnaryOrSeveral(Unary):
    """A curve of one perturbed operand; what else may be perturbed is bounded by another rule.

    Attributes:
        several: The rule of calls with other operands perturbed.
    """

    several: Rule | None = None

    def check(self, call: Call) -> None:
        """See `Rule.check`."""
        if self._is_unary(call):
            super().check(call)
        else:
            self._other.check(call)

    def needs_interval(self, call: Call) -> tuple[bool, ...]:
        """See `Rule.needs_interval`."""
        return super().needs_interval(call) if self._is_unary(call) else self._other.needs_interval(call)

    def domain_violation(self, call: Call, inputs: tuple[Interval | None, ...]) -> Tensor | None:
        """See `Rule.domain_violation`."""
        if self._is_unary(call):
            return super().domain_violation(call, inputs)
        return self._other.domain_violation(call, inputs)

    def accuracy(self, call: Call) -> Accuracy:
        """See `Rule.accuracy`."""
        return super().accuracy(call) if self._is_unary(call) else self._other.accuracy(call)

    def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        """See `Rule.interval`."""
        return super().interval(call, inputs) if self._is_unary(call) else self._other.interval(call, inputs)

    def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
        """See `Rule.relax`."""
        return super().relax(call, inputs) if self._is_unary(call) else self._other.relax(call, inputs)

    def slopes(self, call: Call, inputs: tuple[Interval | None, ...]) -> tuple[Slope, ...]:
        """See `Rule.slopes`."""
        return super().slopes(call, inputs) if self._is_unary(call) else self._other.slopes(call, inputs)

    def relax_with(
        self, call: Call, inputs: tuple[Interval | None, ...], slopes: Sequence[Tensor]
    ) -> Relaxation:
        """See `Rule.relax_with`."""
        if self._is_unary(call):
            return super().relax_with(call, inputs, slopes)
        return self._other.relax_with(call, inputs, slopes)

    def unstable_inputs(self, call: Call, inputs: tuple[Interval | None, ...]) -> tuple[Tensor | None, ...]:
        """See `Rule.unstable_inputs`."""
        if self._is_unary(call):
            return super().unstable_inputs(call, inputs)
        return self._other.unstable_inputs(call, inputs)

    @property
    def _other(self) -> Rule:
        return cast(Rule, self.several)

    def _is_unary(self, call: Call) -> bool:
        operands = self.operands or tuple(call.arguments)[:1]
        return len(call.shapes) == 1 and any(call.slot(name) is not None for name in operands)
