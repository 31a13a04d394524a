"""Kinds of boxes: the wide ones, and those on which rules tend to fail; each is written once, over any source."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol, TypeAlias, TypeVar

from lirpa_testing.rules.domains import Domain

T = TypeVar("T")

#: Lower and upper end of one element.
Ends: TypeAlias = tuple[float, float]

_TINY = (0.0, 5e-324, 1e-310, 2.2250738585072014e-308, 1e-300, 1e-200, 1e-100, 1e-30, 1e-12)
#: Boxes around zero so narrow that one over their width overflows.
_DENORMAL: tuple[Ends, ...] = ((-5e-324, 5e-324), (-1e-310, 5e-324), (-5e-324, 1e-310), (-1e-310, 1e-310))
#: Distances from a kink; NaN stands for one unit in the last place.
_OFFSETS = (0.0, math.nan, 1e-9, 1e-3, 0.5, 1.0, 4.0)
_WHOLE = (0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0)
_SIGNS = (1.0, -1.0)


class Source(Protocol):
    """Where choices come from: Hypothesis, which can take them back, or a fast generator."""

    def pick(self, options: Sequence[T]) -> T:
        """One of the options; the first is the simplest."""

    def between(self, low: float, high: float) -> float:
        """A number of a range that is not empty."""


@dataclass(frozen=True)
class Limits:
    """What a kind of boxes has to respect.

    Attributes:
        low: Lower end of the domain.
        high: Upper end of the domain.
        kinks: Where the function or its curvature changes character.
    """

    low: float
    high: float
    kinks: tuple[float, ...]

    @classmethod
    def of(cls, domain: Domain, kinks: Sequence[float]) -> Limits:
        return cls(*domain, tuple(kinks) or (0.0,))

    @property
    def base(self) -> float:
        """A finite number of the domain, zero if it can be."""
        return self.low if math.isfinite(self.low) else min(self.high, 0.0)

    def usual(self, source: Source) -> float:
        """A number of ordinary size."""
        return _number(source, max(self.low, -10.0), min(self.high, 10.0), self.base)


def _wide(source: Source, limits: Limits) -> Ends:
    if source.pick((True, False)):
        return source.pick(((-1.0, 1.0), (0.0, 0.0), (1.0, 2.0), (-2.0, -1.0)))
    return limits.usual(source), limits.usual(source)


def _thin(source: Source, limits: Limits) -> Ends:
    start = limits.usual(source)
    return start, start + 1e-12 * source.pick((1.0, 2.0, 0.5))


def _degenerate(source: Source, limits: Limits) -> Ends:
    point = limits.usual(source) if source.pick((True, False)) else source.pick(limits.kinks)
    return point, point


def _huge(source: Source, limits: Limits) -> Ends:
    sign = source.pick(_SIGNS)
    return -sign * _far(source), sign * _far(source) * source.pick(_SIGNS)


def _tiny(source: Source, limits: Limits) -> Ends:
    around = limits.base if not limits.low <= 0 <= limits.high else 0.0
    if source.pick((False, False, True)):
        lower, upper = source.pick(_DENORMAL)
    else:
        lower, upper = (source.pick(_TINY) * source.pick(_SIGNS) + 0.0 for _ in range(2))
    return around + lower, around + upper


def _kinks(source: Source, limits: Limits) -> Ends:
    kink, below, above = source.pick(limits.kinks), source.pick(_OFFSETS), source.pick(_OFFSETS)
    lower = math.nextafter(kink, -math.inf) if math.isnan(below) else kink - below
    upper = math.nextafter(kink, math.inf) if math.isnan(above) else kink + above
    return lower, upper


def _mixed(source: Source, limits: Limits) -> Ends:
    return source.pick((_wide, _thin, _degenerate, _huge, _tiny, _kinks))(source, limits)


_KINDS: Final[Mapping[str, Callable[[Source, Limits], Ends]]] = MappingProxyType(
    {
        "wide": _wide,
        "thin": _thin,
        "degenerate": _degenerate,
        "huge": _huge,
        "tiny": _tiny,
        "kinks": _kinks,
        "mixed": _mixed,
    }
)

#: Kinds of boxes. Every element of a box is of the kind; `mixed` draws a kind for each element.
REGIMES: Final = tuple(_KINDS)


def ends_of(source: Source, regime: str, limits: Limits) -> Ends:
    """Lower and upper end of one element.

    Args:
        source: Where choices come from.
        regime: One of `REGIMES`: `wide` within ±10, `thin` 1e-12 wide, `degenerate` `l = u`, `huge` up to
            ±1e6, `tiny` down to denormal numbers, `kinks` starting, ending at or straddling a kink by as
            little as one unit in the last place, `mixed` any of these.
        limits: Domain that both ends are clamped to, and kinks.
    """
    a, b = _KINDS[regime](source, limits)
    a, b = min(max(a, limits.low), limits.high), min(max(b, limits.low), limits.high)
    return (a, b) if a <= b else (b, a)


def require_regime(regime: str) -> None:
    """Refuse a kind of boxes that does not exist.

    Raises:
        ValueError: Naming those that do.
    """
    if regime not in _KINDS:
        raise ValueError(f"unknown regime {regime!r}; there are: {', '.join(REGIMES)}")


def _far(source: Source) -> float:
    if source.pick((True, False)):
        return source.pick((0.0, 1.0, 1e3, 1e5, 1e6))
    return _number(source, 0.0, 1e6, 0.0)


def _number(source: Source, low: float, high: float, base: float) -> float:
    if not low < high:
        return min(max(base, low), high)
    whole = [v for v in _WHOLE if low <= v <= high]
    simple = bool(whole) and source.pick((True, False))
    return source.pick(whole) if simple else source.between(low, high)


class RandomSource:
    """Choices of a fast generator: for many boxes, of which none has to become simpler."""

    def __init__(self, seed: str) -> None:
        """Args: seed: Two sources of the same seed choose the same."""
        self._random = random.Random(seed)  # noqa: S311 - nothing secret

    def pick(self, options: Sequence[T]) -> T:
        return options[int(self._random.random() * len(options))]

    def between(self, low: float, high: float) -> float:
        """Half of them of any size, half of them of any order of magnitude above the ends or zero."""
        share = self._random.random()
        if self._random.random() < 0.5:
            return low + (high - low) * share
        start = self.pick((low, high, 0.0 if low < 0 < high else low))
        reach = (high if self._random.random() < 0.5 else low) - start
        return min(max(start + reach * math.pow(10.0, -17 * share), low), high)
