"""What a proof has to know about a function: how to compute it in ball arithmetic, piece by piece."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol, TypeAlias, runtime_checkable

from lirpa_testing.proof.jets import Jet
from lirpa_testing.proof.rounding import running_error

#: An analytic function, written with arithmetic and the methods of `Jet`.
Formula: TypeAlias = Callable[[Jet], Jet]

#: Where a function changes its formula: exact, also where no float is.
Break: TypeAlias = "float | Fraction"


@dataclass(frozen=True)
class Piece:
    """The formula that a function follows from `start` to `end`, both included; one point if they are equal."""

    start: float
    end: float
    formula: Formula


@runtime_checkable
class Oracle(Protocol):
    """A function of one variable, as a proof sees it."""

    def pieces(self, lower: float, upper: float) -> Sequence[Piece]:
        """Pieces on which `f(x) - kx` is least and greatest over `[lower, upper]`, whatever `k`.

        At a jump a piece ends with the limit: what holds next to it holds there too.
        """

    def magnitude(self, x: float) -> float:
        """What rounding its steps does to the operator's value at `x`, in units of the machine epsilon.

        Beyond `|f(x)|` itself, which a line of that value stands for.
        """


@dataclass(frozen=True)
class Smooth:
    """One formula everywhere.

    Attributes:
        formula: The function.
        period: `p` if `f(x + p) - f(x)` is constant. Then `f(x) - kx` rises or falls from each period to the
            next, for any `k`, and a wide box needs only its first and its last.
        adds: See `Oracle.magnitude`; default: found from the formula, by running error analysis.
    """

    formula: Formula
    period: float | None = None
    adds: Callable[[float], float] | None = None

    def pieces(self, lower: float, upper: float) -> Sequence[Piece]:
        """One piece, or the first and the last period."""
        return [Piece(a, b, self.formula) for a, b in _windows(lower, upper, self.period)]

    def magnitude(self, x: float) -> float:
        """See `Oracle`."""
        return _magnitude(self, x) if self.adds is None else self.adds(x)


@dataclass(frozen=True)
class Piecewise:
    """Formulas that take turns.

    Attributes:
        formulas: One more than there are breaks, left to right.
        breaks: Where one formula ends and the next begins, ascending. If a break is no float, the floats on
            either side of it are the ends.
        at: The value at each break; needed where the formulas do not agree.
        adds: As in `Smooth`.
    """

    formulas: Sequence[Formula]
    breaks: Sequence[Break]
    at: Sequence[float] | None = None
    adds: Callable[[float], float] | None = None

    def pieces(self, lower: float, upper: float) -> Sequence[Piece]:
        """The formulas that the box meets, and the values at its breaks."""
        found = []
        start = -math.inf
        for i, formula in enumerate(self.formulas):
            end, after = _neighbours(self.breaks[i]) if i < len(self.breaks) else (math.inf, math.inf)
            a, b = max(start, lower), min(end, upper)
            if a < b or (a == b and (lower == upper or end < after)):
                found.append(Piece(a, b, formula))
            start = after
        if self.at is None:
            return found
        values = {float(at): y for at, y in zip(self.breaks, self.at, strict=True) if float(at) == at}
        points = [Piece(x, x, constant(y)) for x, y in values.items() if lower <= x <= upper]
        return [p for p in found if p.start < p.end or p.start not in values] + points

    def magnitude(self, x: float) -> float:
        """See `Oracle`."""
        return _magnitude(self, x) if self.adds is None else self.adds(x)


@dataclass(frozen=True)
class Stairs:
    """Steps of width and height one, up from left to right.

    Attributes:
        value: The function, of an exact number.
        offset: Where some step begins.
        period: After how many steps the values at the breaks follow the same pattern.
    """

    value: Callable[[Fraction], int]
    offset: Fraction = Fraction(0)
    period: int = 1

    def pieces(self, lower: float, upper: float) -> Sequence[Piece]:
        """The steps of the first and of the last period."""
        found: list[Piece] = []
        for a, b in _windows(lower, upper, float(self.period)):
            found += self._steps(a, b).pieces(a, b)
        return found

    def magnitude(self, x: float) -> float:
        """See `Oracle`."""
        return 0.0

    def _steps(self, lower: float, upper: float) -> Piecewise:
        first = math.ceil(Fraction(lower) - self.offset)
        last = math.floor(Fraction(upper) - self.offset)
        breaks = [self.offset + n for n in range(first, last + 1)]
        middles = [self.offset + n - Fraction(1, 2) for n in range(first, last + 2)]
        return Piecewise(
            [constant(float(self.value(m))) for m in middles],
            [float(at) for at in breaks],
            [float(self.value(at)) for at in breaks],
        )


@dataclass(frozen=True)
class Joined:
    """One function up to a break, another from there on; they agree at the break.

    Attributes:
        left: The one.
        right: The other.
        at: The break.
    """

    left: Oracle
    right: Oracle
    at: float

    def pieces(self, lower: float, upper: float) -> Sequence[Piece]:
        """Those of either side."""
        left = self.left.pieces(lower, min(upper, self.at)) if lower <= self.at else ()
        right = self.right.pieces(max(lower, self.at), upper) if upper > self.at else ()
        return [*left, *right]

    def magnitude(self, x: float) -> float:
        """See `Oracle`."""
        return (self.left if x <= self.at else self.right).magnitude(x)


def exactly(x: float) -> float:
    """For `adds`: every step is as accurate as the value."""
    return 0.0


def constant(value: float) -> Formula:
    """The formula of a constant."""
    return lambda x: x * 0 + value


def line(slope: float, bias: float = 0.0) -> Formula:
    """The formula of a line."""
    return lambda x: x * slope + bias


def _neighbours(at: Break) -> tuple[float, float]:
    """The floats next to a number; twice the number itself if it is one."""
    nearest = float(at)
    if nearest == at:
        return nearest, nearest
    if nearest < at:
        return nearest, math.nextafter(nearest, math.inf)
    return math.nextafter(nearest, -math.inf), nearest


def _magnitude(oracle: Smooth | Piecewise, x: float) -> float:
    return max(running_error(piece.formula, x) for piece in oracle.pieces(x, x))


def _windows(lower: float, upper: float, period: float | None) -> list[tuple[float, float]]:
    """The whole of a box, or a little more than its first and its last period."""
    if period is None or upper - lower <= 3 * period:
        return [(lower, upper)]
    more = period * (1 + 2**-20)
    return [(lower, lower + more), (upper - more, upper)]
