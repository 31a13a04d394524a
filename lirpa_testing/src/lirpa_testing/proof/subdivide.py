"""Whether a function stays on one side of a line: by subdivision, until every part is certain.

On each part the function's first two derivatives are enclosed. If their signs are known, one or two values
decide: a function that rises is least at its left end, a concave one at one of its ends, and a convex one
lies above each of its tangents. Else the part is cut.

References:
    R. E. Moore, *Interval Analysis*, 1966: enclosures, the mean value form, subdivision.
    F. Johansson, "Arb: efficient arbitrary-precision midpoint-radius interval arithmetic", IEEE Transactions
    on Computers 66 (8), 2017: the arithmetic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from flint import arb

from lirpa_testing.proof.jets import Jet
from lirpa_testing.proof.oracle import Formula, Piece
from lirpa_testing.proof.ranges import Range

#: Parts that are looked at before a proof is given up.
BUDGET = 2000

_NEWTON = 12
#: Parts whose ends differ by more than this factor are cut at the geometric mean.
_RATIO = 256.0


@dataclass(frozen=True)
class Line:
    """A claim: `slope * x + bias <= f(x) + allowed`, or the opposite with `side = -1`.

    Attributes:
        slope: Of the line.
        bias: Of the line.
        side: 1 for a line below, -1 for one above.
        allowed: By how much it may be missed.
    """

    slope: float
    bias: float
    side: Literal[1, -1]
    allowed: float


@dataclass(frozen=True)
class Proved:
    """The claim holds on the whole box.

    Attributes:
        parts: How many parts were looked at.
    """

    parts: int


@dataclass(frozen=True)
class Refuted:
    """The claim is false.

    Attributes:
        point: A point where it is.
        amount: By how much more than allowed.
    """

    point: float
    amount: float


@dataclass(frozen=True)
class Undecided:
    """The work was not enough to tell.

    Attributes:
        lower: Left end of a part that is open.
        upper: Its right end.
    """

    lower: float
    upper: float


Verdict: TypeAlias = Proved | Refuted | Undecided


class Enclosures:
    """Jets of one formula, each computed once however many lines are looked at."""

    def __init__(self, formula: Formula) -> None:
        self._formula = formula
        self._values: dict[float, arb] = {}
        self._jets: dict[tuple[float, float], Jet] = {}

    def value(self, x: float) -> arb:
        """The function at a point."""
        found = self._values.get(x)
        if found is None:
            found = self._values[x] = self._formula(Jet.value(arb(x))).f
        return found

    def at(self, x: arb) -> Jet:
        """The function and its derivatives at a point."""
        return self._formula(Jet.variable(x))

    def over(self, lower: float, upper: float) -> Jet:
        """The function and its derivatives over a part."""
        found = self._jets.get((lower, upper))
        if found is None:
            found = self._formula(Jet.variable(Range(arb(lower), arb(upper))))
            self._jets[lower, upper] = found
        return found


def decide(piece: Piece, line: Line, enclosures: Enclosures, budget: int = BUDGET) -> Verdict:
    """Prove or refute a line over one piece of a function.

    Args:
        piece: Where.
        line: The claim.
        enclosures: Of the piece's formula.
        budget: Parts to look at.
    """
    claim = _Claim(line, enclosures)
    for x in {piece.start, piece.end}:
        margin = claim.value(x)
        if margin < 0:
            return Refuted(x, -float(margin.mid()))
        if not margin >= 0:
            return Undecided(x, x)
    parts = [(piece.start, piece.end)] if piece.start < piece.end else []
    looked = 0
    while parts:
        lower, upper = parts.pop()
        looked += 1
        if looked > budget:
            return Undecided(lower, upper)
        found = claim.part(lower, upper)
        if found is None:
            continue
        if isinstance(found, Refuted):
            return found
        middle = found
        if not lower < middle < upper:
            return Undecided(lower, upper)
        margin = claim.value(middle)
        if margin < 0:
            return Refuted(middle, -float(margin.mid()))
        if not margin >= 0:
            return Undecided(middle, middle)
        parts += [(lower, middle), (middle, upper)]
    return Proved(looked)


class _Claim:
    """The margin `h(x) = side (f(x) - slope x - bias) + allowed`, which is to be shown not to be negative."""

    def __init__(self, line: Line, enclosures: Enclosures) -> None:
        self.side = line.side
        self.slope, self.bias, self.allowed = arb(line.slope), arb(line.bias), arb(line.allowed)
        self.enclosures = enclosures

    def value(self, x: float) -> arb:
        return self._margin(self.enclosures.value(x), arb(x))

    def _margin(self, f: arb, x: arb) -> arb:
        above = f - self.slope * x - self.bias
        return (above if self.side > 0 else -above) + self.allowed

    def part(self, lower: float, upper: float) -> Refuted | float | None:
        """None if the margin, known not to be negative at the ends, is so in between; else where to cut."""
        jet = self.enclosures.over(lower, upper)
        slope, bend = jet.d1 - self.slope, jet.d2
        if slope.lo >= 0 or slope.hi <= 0:
            return None
        if self.side < 0:
            bend = -bend
        if bend.hi <= 0:
            return None
        if self._natural(jet.f, lower, upper):
            return None
        if bend.lo >= 0:
            return self._convex(lower, upper)
        if self._taylor(bend.lo, slope, lower, upper):
            return None
        return _cut(lower, upper)

    def _natural(self, f: Range, lower: float, upper: float) -> bool:
        a, b = self.slope * lower, self.slope * upper
        rising = bool(a <= b)
        if self.side > 0:
            return bool(f.lo - (b if rising else a) - self.bias + self.allowed >= 0)
        return bool((a if rising else b) - f.hi + self.bias + self.allowed >= 0)

    def _taylor(self, bend: arb, slope: Range, lower: float, upper: float) -> bool:
        """Mean value form, and the form of the second order, from the middle."""
        c = arb(lower) / 2 + arb(upper) / 2
        radius = arb(upper) / 2 - arb(lower) / 2
        jet = self.enclosures.at(c)
        margin = self._margin(jet.f, c)
        if margin - radius * (-slope.lo).max(slope.hi) >= 0:
            return True
        tilt = abs(jet.d1 - self.slope)
        return bool(margin - tilt * radius + bend.min(arb(0)) * radius**2 / 2 >= 0)

    def _convex(self, lower: float, upper: float) -> Refuted | float | None:
        """Look for the least margin by Newton's method; the tangent there is below the rest."""
        low, high = arb(lower), arb(upper)
        start, end = low, high
        c = (low + high) / 2
        for _ in range(_NEWTON):
            c = c.mid()
            jet = self.enclosures.at(c)
            margin = self._margin(jet.f, c)
            if margin < 0:
                return Refuted(float(c), -float(margin.mid()))
            tilt = (jet.d1 - self.slope) * self.side
            if margin + tilt * (low - c) >= 0 and margin + tilt * (high - c) >= 0:
                return None
            if tilt > 0:
                end = c
            elif tilt < 0:
                start = c
            else:
                break
            step = c - tilt / (jet.d2 * self.side)
            c = step if step > start and step < end else (start + end) / 2
        cut = float(c)
        return cut if lower < cut < upper else _cut(lower, upper)


def _cut(lower: float, upper: float) -> float:
    """Where to cut a part in two; one of its ends if it is too narrow."""
    if lower < 0 < upper:
        return 0.0
    small, large = sorted((abs(lower), abs(upper)))
    if small > 0 and large / small > _RATIO:
        return math.copysign(math.sqrt(small) * math.sqrt(large), lower + upper)
    return lower / 2 + upper / 2
