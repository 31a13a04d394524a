"""The general family: an author states an interval and two affine bounds, nothing is derived."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.relaxation import Relaxation
from lirpa_core.linear.rounding import Accuracy
from lirpa_core.rules.base import Rule, Slope
from lirpa_core.rules.call import Call
from lirpa_core.rules.linear import refuse_because, refuse_slots_outside


@dataclass(frozen=True)
class General(Rule):
    """Rule of an operator that is bounded by two affine functions of its operands.

    Attributes:
        over: Names of the arguments that may be perturbed.
        bound: `(call, inputs) -> Interval`.
        affine: `(call, inputs) -> Relaxation`, sound on the box of the inputs.
        unstable_where: `(call, inputs) -> booleans`: which elements are worth tightening; default: all
            that are not single points.
        precision: How accurately the two compute; default: as if every output were a sum over all elements.
        refuse: Says why a call cannot be bounded, or None; for options that the rule does not cover.
        choices: `(call, inputs) -> slopes`: what an optimizer may move (see `Rule.slopes`); default: nothing.
        affine_with: `(call, inputs, slopes) -> Relaxation`: `affine` with given values for these, sound for all.
        affine_all: `affine` of several calls at once, where that takes less time than one after the other.
        continuous: See `Rule`.
    """

    over: tuple[str, ...]
    bound: Callable[[Call, tuple[Interval, ...]], Interval]
    affine: Callable[[Call, tuple[Interval, ...]], Relaxation]
    unstable_where: Callable[[Call, tuple[Interval, ...]], tuple[Tensor | None, ...]] | None = None
    refuse: Callable[[Call], str | None] | None = None
    precision: Callable[[Call], Accuracy] | None = None
    choices: Callable[[Call, tuple[Interval, ...]], tuple[Slope, ...]] | None = None
    affine_with: Callable[[Call, tuple[Interval, ...], Sequence[Tensor]], Relaxation] | None = None
    affine_all: Callable[[Sequence[Call], Sequence[tuple[Interval, ...]]], list[Relaxation]] | None = None
    continuous: bool = False

    @property
    def relaxes_together(self) -> bool:  # type: ignore[override]
        """See `Rule`."""
        return self.affine_all is not None

    @property
    def costly(self) -> bool:  # type: ignore[override]
        """See `Rule`."""
        return self.affine_all is not None

    def check(self, call: Call) -> None:
        """See `Rule.check`."""
        refuse_slots_outside(call, self.over)
        refuse_because(call, self.refuse)

    def accuracy(self, call: Call) -> Accuracy:
        """See `Rule.accuracy`."""
        return super().accuracy(call) if self.precision is None else self.precision(call)

    def unstable_inputs(self, call: Call, inputs: tuple[Interval | None, ...]) -> tuple[Tensor | None, ...]:
        """See `Rule.unstable_inputs`."""
        if self.unstable_where is None:
            return super().unstable_inputs(call, inputs)
        return self.unstable_where(call, _known(inputs))

    def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        """See `Rule.interval`."""
        return self.bound(call, inputs)

    def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
        """See `Rule.relax`."""
        return self.affine(call, _known(inputs))

    def slopes(self, call: Call, inputs: tuple[Interval | None, ...]) -> tuple[Slope, ...]:
        """See `Rule.slopes`; what may be unbounded has none, for its planes have no slopes."""
        return () if self.choices is None or call.infinite else self.choices(call, _known(inputs))

    def relax_with(
        self, call: Call, inputs: tuple[Interval | None, ...], slopes: Sequence[Tensor]
    ) -> Relaxation:
        """See `Rule.relax_with`."""
        if self.affine_with is None or len(slopes) == 0:
            return super().relax_with(call, inputs, slopes)
        return self.affine_with(call, _known(inputs), slopes)

    def relax_all(
        self, calls: Sequence[Call], inputs: Sequence[tuple[Interval | None, ...]]
    ) -> list[Relaxation]:
        """See `Rule.relax_all`."""
        if self.affine_all is None:
            return super().relax_all(calls, inputs)
        return self.affine_all(calls, [_known(given) for given in inputs])


def _known(inputs: tuple[Interval | None, ...]) -> tuple[Interval, ...]:
    known = tuple(x for x in inputs if x is not None)
    assert len(known) == len(inputs), "a method must pass every interval that a rule needs"
    return known
