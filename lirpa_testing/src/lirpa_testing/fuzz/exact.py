"""Exact values of a group's members: enclosures in float64 of all of them, and balls of 400 bits of those that matter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from flint import arb, ctx
from numpy.typing import NDArray

from lirpa_testing.fuzz.attack import Member
from lirpa_testing.fuzz.balls import Balls, array
from lirpa_testing.fuzz.case import Case
from lirpa_testing.fuzz.enclosures import Enclosure

_BITS = 400


class ExactValues:
    """The networks' values at members, as exactly as a question needs them.

    Args:
        cases: A group.
        members: Members of its sets.
    """

    def __init__(self, cases: Sequence[Case], members: Sequence[Member]) -> None:
        self._cases, self._members = cases, members
        self._balls: dict[int, Balls] = {}
        self._of = np.array([m.case for m in members])
        self.lower, self.upper = self._enclosed()  # [n, K]

    def ball(self, i: int) -> Balls:
        """A member's value in balls of 400 bits, `[K]`.

        Args:
            i: Which member.
        """
        if i not in self._balls:
            member = self._members[i]
            case = self._cases[member.case]
            weight = None
            if member.weight is not None:
                assert case.weight is not None
                weight = case.weight[0], member.weight
            with ctx.workprec(_BITS):
                self._balls[i] = case.program.exact(member.point, weight)
        return self._balls[i]

    def outside(
        self, lower: Sequence[list[float] | None], upper: Sequence[list[float] | None]
    ) -> dict[int, str]:
        """Which cases have a value that surely lies outside of bounds, with the first such value.

        Args:
            lower: Bounds of all cases, `[K]` each; None of those without.
            upper: Likewise.
        """
        outputs = self.lower.shape[1]
        lows = [[-math.inf] * outputs if ends is None else ends for ends in lower]
        ups = [[math.inf] * outputs if ends is None else ends for ends in upper]
        low, up = (np.array(ends, dtype=np.float64)[self._of] for ends in (lows, ups))
        asked = ~((low <= self.lower) & (self.upper <= up)).all(1)
        found: dict[int, str] = {}
        for i in map(int, np.flatnonzero(asked)):
            case = self._members[i].case
            if case in found:
                continue
            with ctx.workprec(_BITS):
                for k, value in enumerate(self.ball(i)):
                    # Comparisons of balls are true where they are true of all their numbers.
                    if value < arb(lows[case][k]) or value > arb(ups[case][k]):
                        ends = f"[{lows[case][k]!r}, {ups[case][k]!r}]"
                        found[case] = f"output {k}: {value.str(25)} is outside {ends}"
                        break
        return found

    def _enclosed(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Ends between which all values lie, two of `[n, K]`."""
        points = zip(*[m.point for m in self._members], strict=True)
        with np.errstate(all="ignore"):
            x = array([Enclosure.of_fractions(list(values)) for values in points])
            program = self._cases[0].program
            values = program.evaluate(x, [self._parameters(i) for i in range(len(program.steps))])
            found = [Enclosure.of(value) for value in values]
        shape = (len(self._members),)
        lower = [np.broadcast_to(value.lower, shape) for value in found]
        upper = [np.broadcast_to(value.upper, shape) for value in found]
        return np.stack(lower, 1), np.stack(upper, 1)

    def _parameters(self, step: int) -> list[Balls]:
        """A step's parameters at all members."""
        found = []
        for k in range(len(self._cases[0].program.steps[step].parameters)):
            each = np.array(
                [case.program.steps[step].parameters[k] for case in self._cases], dtype=np.float64
            )
            same = bool((each == each[:1]).all())
            weight = self._cases[0].weight
            if k == 0 and weight is not None and weight[0] == step:
                found.append(self._weights(each[0]))
            else:
                values = each[:1] if same else each[self._of]
                found.append(_objects(np.moveaxis(values, 0, -1)))
        return found

    def _weights(self, nominal: NDArray[np.float64]) -> Balls:
        """The perturbed weight at all members."""
        plain = tuple(tuple(map(Fraction, row)) for row in nominal.tolist())
        each = [plain if m.weight is None else m.weight for m in self._members]
        out = np.empty(nominal.shape, dtype=object)
        for i, j in np.ndindex(nominal.shape):
            out[i, j] = Enclosure.of_fractions([w[i][j] for w in each])
        return out


def _objects(values: Any) -> Balls:
    """Enclosures of what is exact, `[..., n]`, as an array of objects `[...]`."""
    out = np.empty(values.shape[:-1], dtype=object)
    for place in np.ndindex(out.shape):
        out[place] = Enclosure.of(values[place])
    return out
