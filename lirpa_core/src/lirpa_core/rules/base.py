"""What every rule can do: the two methods that it has to have, and defaults for all others."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import LinearOp
from lirpa_core.linear.relaxation import Relaxation
from lirpa_core.linear.rounding import Accuracy
from lirpa_core.rules.call import Call

#: The ways in which a method of bounding can use a rule.
MODES = ("interval", "backward", "forward")


@dataclass(frozen=True, eq=False)
class Slope:
    """A slope (α) of a relaxation that an optimizer may move, one number an element.

    It need not be a slope in the narrow sense: the share of one plane in a mixture of two is stated in the same
    way, with a range from 0 to 1. Whatever value from the range it takes, the relaxation is sound.

    Attributes:
        start: The value that `Rule.relax` uses, `[B, *P]` (a leading one is shared by all examples). `P` is the
            shape that one example's values have: for a function of one variable that of the output.
        least: The least value worth a try, of a shape that broadcasts to that of `start`.
        greatest: The greatest value worth a try, likewise. Where it equals `least` there is nothing to choose.
    """

    start: Tensor
    least: Tensor
    greatest: Tensor


class Rule(ABC):
    """Bounds of one operator.

    A rule has to say how intervals go through its operator (`interval`) and which affine functions bound it on
    a box (`relax`). Everything else has a default that is sound, and that a rule replaces where it knows more.
    The families (`Linear`, `Bilinear`, `Unary`, `General`) are rules; most authors state one of those instead of
    writing a class.

    Attributes:
        family: `"linear"`, `"bilinear"`, `"unary"` or `"general"` (or a plugin's own word).
        modes: The subset of `MODES` that the rule supports.
        selects: Whether every output element is one input element (or a constant), and none is used twice.
            Elements that varied independently of each other before such an operator still do so behind it.
        relaxes_together: Whether `relax_all` of many calls takes less time than one after the other.
        costly: Whether relaxing takes much longer than a pass of rows does; searches for the bounds of inner nodes then leave
            its slopes as they are.
        rounds: Whether rounding to a type is what the operator does, rather than an error of its evaluation.
        continuous: Whether the operator is continuous in its perturbed operands. It is asked of rules without a curve, for
            operators that are not PyTorch's; Lipschitz constants are refused where it is False.
        additive: Names of the arguments that are added to something; None: whichever are constant may be.
    """

    family: str = "general"
    modes: tuple[str, ...] = MODES
    selects: bool = False
    relaxes_together: bool = False
    costly: bool = False
    rounds: bool = False
    continuous: bool = False
    additive: tuple[str, ...] | None = None

    def check(self, call: Call) -> None:  # noqa: B027 (nothing to refuse is a good default)
        """Refuse a call that the rule cannot bound, before anything is computed.

        Raises:
            UnsupportedOperandError: Naming the operand or option and what to do.
        """

    def is_affine(self, call: Call) -> bool:
        """Whether the operator is affine in its perturbed operands, so that `relax` is exact."""
        return False

    def needs_interval(self, call: Call) -> tuple[bool, ...]:
        """For each perturbed operand, whether `relax` reads its interval."""
        return (True,) * len(call.shapes)

    def unstable_inputs(self, call: Call, inputs: tuple[Interval | None, ...]) -> tuple[Tensor | None, ...]:
        """Which elements of each operand's interval are worth tightening.

        Returns:
            One boolean `[B, *S_i]` an operand: False where a tighter interval cannot change the
            relaxation, such as a ReLU that is known to be active. None means "none of them". The default
            is every element whose interval is not a point.
        """
        return tuple(None if x is None else x.upper > x.lower for x in inputs)

    def domain_violation(self, call: Call, inputs: tuple[Interval | None, ...]) -> Tensor | None:
        """Where the box is not inside the domain, as booleans; None if the function is defined everywhere.

        The bounds there are infinite. Who reads this turns it into an error, outside of any compiled region,
        because that takes a look at the data.
        """
        return None

    def domain_slot(self, call: Call) -> int:
        """The operand that `domain_violation` is about."""
        return 0

    def accuracy(self, call: Call) -> Accuracy:
        """How accurately `interval` and `relax` compute what they compute.

        The default takes an output for a sum over all elements of all operands.
        """
        return Accuracy(64 + sum([math.prod(shape) for shape in call.shapes]))

    @abstractmethod
    def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        """Bounds of the output from bounds of the perturbed operands (IBP)."""

    def around(
        self, call: Call, inputs: tuple[Interval, ...], slot: int, center: Tensor
    ) -> tuple[Interval, LinearOp] | None:
        """The output with one operand at a point, and how far it may go when the operand leaves the point.

        For sets that are not their boxes, such as weights in a ball, around which the box says too little.

        Args:
            call: The call.
            inputs: Bounds of the operands.
            slot: The operand.
            center: The point, `[1 or B, *S_slot]`.

        Returns:
            Bounds of the output with that operand at the point, and an operator `K` from it with coefficients that are
            not negative: at `z` the output differs by at most `K |z − center|`. None, the default: nothing is known.
        """
        return None

    @abstractmethod
    def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
        """Affine bounds of the output on the box; `inputs[i]` is None where not needed."""

    def relax_all(
        self, calls: Sequence[Call], inputs: Sequence[tuple[Interval | None, ...]]
    ) -> list[Relaxation]:
        """`relax` of several calls of the same rule."""
        return [self.relax(call, given) for call, given in zip(calls, inputs, strict=True)]

    def slopes(self, call: Call, inputs: tuple[Interval | None, ...]) -> tuple[Slope, ...]:
        """The slopes (α) that an optimizer may move, at the values that `relax` chooses.

        Returns:
            As many as the relaxation has; none, the default, where it has nothing to choose.
        """
        return ()

    def relax_with(
        self, call: Call, inputs: tuple[Interval | None, ...], slopes: Sequence[Tensor]
    ) -> Relaxation:
        """Affine bounds like those of `relax`, with given values for the slopes.

        Args:
            call: The call.
            inputs: As for `relax`.
            slopes: One tensor `[B, *P]` for each entry of `slopes(call, inputs)`, in the same order. The result
                is sound for all values in their ranges, and differentiable in them.
        """
        if len(slopes) > 0:
            raise TypeError(f"{type(self).__name__} has no slopes to choose, got values for {len(slopes)}")
        return self.relax(call, inputs)
