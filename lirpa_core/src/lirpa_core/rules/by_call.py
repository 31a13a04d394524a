"""A rule that is one rule for some calls of its operator, and another one for the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.relaxation import Relaxation
from lirpa_core.linear.rounding import Accuracy
from lirpa_core.rules.base import Rule, Slope
from lirpa_core.rules.call import Call


@dataclass(frozen=True)
class ByCall(Rule):
    """Answers as one of two rules.

    Attributes:
        usual: The rule of most calls; `lirpa ops` shows its family.
        other: The rule of the calls that `which` picks.
        which: Whether a call is one of `other`.
    """

    usual: Rule
    other: Rule
    which: Callable[[Call], bool]

    @property
    def family(self) -> str:  # type: ignore[override]
        return self.usual.family

    @property
    def continuous(self) -> bool:  # type: ignore[override]
        """Of most calls; `of` says of which rule a call is."""
        return self.usual.continuous

    def of(self, call: Call) -> Rule:
        """The rule of a call."""
        return self.other if self.which(call) else self.usual

    def check(self, call: Call) -> None:
        """See `Rule.check`."""
        self.of(call).check(call)

    def is_affine(self, call: Call) -> bool:
        """See `Rule.is_affine`."""
        return self.of(call).is_affine(call)

    def needs_interval(self, call: Call) -> tuple[bool, ...]:
        """See `Rule.needs_interval`."""
        return self.of(call).needs_interval(call)

    def unstable_inputs(self, call: Call, inputs: tuple[Interval | None, ...]) -> tuple[Tensor | None, ...]:
        """See `Rule.unstable_inputs`."""
        return self.of(call).unstable_inputs(call, inputs)

    def domain_violation(self, call: Call, inputs: tuple[Interval | None, ...]) -> Tensor | None:
        """See `Rule.domain_violation`."""
        return self.of(call).domain_violation(call, inputs)

    def domain_slot(self, call: Call) -> int:
        """See `Rule.domain_slot`."""
        return self.of(call).domain_slot(call)

    def accuracy(self, call: Call) -> Accuracy:
        """See `Rule.accuracy`."""
        return self.of(call).accuracy(call)

    def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        """See `Rule.interval`."""
        return self.of(call).interval(call, inputs)

    def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
        """See `Rule.relax`."""
        return self.of(call).relax(call, inputs)

    def slopes(self, call: Call, inputs: tuple[Interval | None, ...]) -> tuple[Slope, ...]:
        """See `Rule.slopes`."""
        return self.of(call).slopes(call, inputs)

    def relax_with(
        self, call: Call, inputs: tuple[Interval | None, ...], slopes: Sequence[Tensor]
    ) -> Relaxation:
        """See `Rule.relax_with`."""
        return self.of(call).relax_with(call, inputs, slopes)
