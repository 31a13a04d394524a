"""What the engines ask of a rule. Families implement this; most authors never do so by hand."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.relaxation import Relaxation
from lirpa_core.rules.call import Call

#: The ways in which an engine can use a rule.
MODES = ("interval", "backward", "forward")


@runtime_checkable
class Rule(Protocol):
    """Bounds of one operator.

    Attributes:
        family: `"linear"`, `"bilinear"`, `"unary"` or `"general"` (or a plugin's own word).
        modes: The subset of `MODES` that the rule supports.
    """

    @property
    def family(self) -> str: ...

    @property
    def modes(self) -> tuple[str, ...]: ...

    def check(self, call: Call) -> None:
        """Refuse a call that the rule cannot bound, before anything is computed.

        Raises:
            UnsupportedOperandError: Naming the operand or option and what to do.
        """

    def is_affine(self, call: Call) -> bool:
        """Whether the operator is affine in its perturbed operands, so that `relax` is exact."""

    def needs_interval(self, call: Call) -> tuple[bool, ...]:
        """For each perturbed operand, whether `relax` reads its interval."""

    def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        """Bounds of the output from bounds of the perturbed operands (IBP)."""

    def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
        """Affine bounds of the output on the box; `inputs[i]` is None where not needed."""

    def unstable_inputs(self, call: Call, inputs: tuple[Interval | None, ...]) -> tuple[Tensor | None, ...]:
        """Which elements of each operand's interval are worth tightening.

        Returns:
            One boolean `[B, *S_i]` an operand: False where a tighter interval cannot change the
            relaxation, such as a ReLU that is known to be active. None means "none of them".
        """
