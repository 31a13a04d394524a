"""A rule around another one: the same operator with something added, such as the rounding of its evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.relaxation import Relaxation
from lirpa_core.linear.rounding import Accuracy
from lirpa_core.rules.base import Rule
from lirpa_core.rules.call import Call


@dataclass(frozen=True)
class Wrapped(Rule):
    """Answers as the rule inside wherever a subclass says nothing else.

    What the rule inside promises beyond bounds (`selects`, `slopes`, `relax_all`) is not promised of the whole, unless a
    subclass says so.

    Attributes:
        rule: The rule inside.
    """

    rule: Rule

    @property
    def family(self) -> str:  # type: ignore[override]
        return self.rule.family

    @property
    def modes(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.rule.modes

    @property
    def continuous(self) -> bool:  # type: ignore[override]
        return self.rule.continuous

    @property
    def costly(self) -> bool:  # type: ignore[override]
        return self.rule.costly

    def check(self, call: Call) -> None:
        """As the rule inside."""
        self.rule.check(call)

    def is_affine(self, call: Call) -> bool:
        """As the rule inside."""
        return self.rule.is_affine(call)

    def accuracy(self, call: Call) -> Accuracy:
        """As the rule inside."""
        return self.rule.accuracy(call)

    def needs_interval(self, call: Call) -> tuple[bool, ...]:
        """As the rule inside."""
        return self.rule.needs_interval(call)

    def unstable_inputs(self, call: Call, inputs: tuple[Interval | None, ...]) -> tuple[Tensor | None, ...]:
        """As the rule inside."""
        return self.rule.unstable_inputs(call, inputs)

    def domain_violation(self, call: Call, inputs: tuple[Interval | None, ...]) -> Tensor | None:
        """As the rule inside."""
        return self.rule.domain_violation(call, inputs)

    def domain_slot(self, call: Call) -> int:
        """As the rule inside."""
        return self.rule.domain_slot(call)

    def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        """As the rule inside."""
        return self.rule.interval(call, inputs)

    def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
        """As the rule inside."""
        return self.rule.relax(call, inputs)
