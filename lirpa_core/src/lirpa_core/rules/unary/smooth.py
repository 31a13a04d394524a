"""Rules for functions whose author knows `f`, perhaps `f'`, and where the curvature changes sign.

Everything else follows. Between two neighbouring inflections `f'` rises or falls throughout; so one
look at it tells which, an extremum shows in a change of its sign, and the point with a given slope is
found by bracketing whenever a line is wanted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from lirpa_core.errors import OptionError
from lirpa_core.rules.pullback import pulled_back
from lirpa_core.rules.unary.curve import CONCAVE, CONVEX, Arc, Curve, Jet, Map
from lirpa_core.rules.unary.rule import Unary

#: How far from a finite end of an unbounded piece its slope is looked at, as powers of two.
_NEAR, _FAR, _FARTHEST = -12, 20, 400
_SAMPLES = 129
#: Changes of the slope that are taken for rounding, relative to the largest change.
_NOISE = 1e-10
_WHOLE_LINE = (-math.inf, math.inf)


def smooth(
    f: Map,
    df: Map | None = None,
    *,
    inflections: Sequence[float] = (),
    domain: tuple[float, float] = _WHOLE_LINE,
    operands: tuple[str, ...] = (),
) -> Unary:
    """A rule for a function with a continuous derivative, from its inflections alone.

    The bounds are sound if the inflections are right: stating one too many does no harm, forgetting one does.
    What a look at the derivative can tell is checked here, `lirpa_testing.check_rule` does the rest. A
    `Curve` with a closed form for the point of a given slope (`Arc.inverse`) is faster.

    Args:
        f: The function, elementwise, differentiable by autograd.
        df: Its derivative; default: by forward differentiation.
        inflections: Where the curvature changes its sign.
        domain: Where the function is defined. An end at which `f` is finite belongs to it.
        operands: As in `Unary`.

    Returns:
        The rule.

    Raises:
        OptionError: The inflections are not inside the domain, `f'` rises and falls between two of
            them, or `df` is not the derivative of `f`.

    Example:
        >>> import torch
        >>> from lirpa_core.rules import Call, Interval, Operand, smooth
        >>> def bump(x):
        ...     return torch.exp(-x * x)
        >>> rule = smooth(bump, inflections=[-(0.5**0.5), 0.5**0.5])
        >>> box = Interval(torch.tensor([[-1.0]]), torch.tensor([[2.0]]))
        >>> found = rule.interval(Call.of(bump, Operand((1,))), (box,))
        >>> round(found.lower.item(), 3), found.upper.item()
        (0.018, 1.0)
    """
    return Unary(smooth_curve(f, df, inflections=inflections, domain=domain), operands)


def smooth_curve(
    f: Map,
    df: Map | None = None,
    *,
    inflections: Sequence[float] = (),
    domain: tuple[float, float] = _WHOLE_LINE,
) -> Curve:
    """The curve behind `smooth`, for a rule whose curve depends on the parameters of the call.

    Args:
        f: As in `smooth`.
        df: As in `smooth`.
        inflections: As in `smooth`.
        domain: As in `smooth`.

    Raises:
        OptionError: As in `smooth`.
    """
    low, high = domain
    _check_order(inflections, low, high)
    if df is not None:
        _check_derivative(f, df, _points(low, high, _FAR))
    slope = df if df is not None else _derivative(f)
    pieces = list(pairwise([low, *(float(x) for x in inflections), high]))
    bends = [_bend(slope, start, end) for start, end in pieces]
    slope, singular = _at_the_ends(f, slope, (low, bends[0]), (high, -bends[-1]))
    jet = _with_difference(slope)
    arcs = [
        Arc(
            bend,
            None if start == low else start,
            None if end == high else end,
            jet=jet,
            anchor=_anchor(start, end),
            limit=_limit(slope, start, end),
        )
        for bend, piece in zip(bends, pieces, strict=True)
        for start, end in _one_sided(piece)
        if bend
    ]
    x = torch.cat([_points(*piece, _FARTHEST) for piece in pieces])
    slopes = slope(x)
    x, slopes = x[slopes.isfinite()], slopes[slopes.isfinite()]
    extrema = _sign_changes(slope, x, slopes)
    rising, falling = bool((slopes > 0).any()), bool((slopes < 0).any())
    return Curve(
        f,
        slope,
        tuple(arcs),
        extrema=extrema,
        monotone=0 if extrema else (1 if rising else -1 if falling else 0),
        shape=bends[0] if len(pieces) == 1 else 0,
        outside=_outside(f, low, high),
        inside=_anchor(low, high),
        singular=singular,
    )


def _check_order(inflections: Sequence[float], low: float, high: float) -> None:
    if not low < high:
        raise OptionError(f"domain=({low}, {high}) is empty; give (lower end, upper end).")
    given = [low, *inflections, high]
    if not all(a < b for a, b in pairwise(given)):
        raise OptionError(
            f"inflections={list(inflections)} must rise, and lie inside the domain ({low}, {high})."
        )


def _points(start: float, end: float, far: int) -> Tensor:
    """Places inside a piece, in ascending order: evenly spaced, or ever farther from its finite end."""
    if math.isfinite(start) and math.isfinite(end):
        t = torch.linspace(0, 1, _SAMPLES + 2, dtype=torch.float64)[1:-1]
        return start + (end - start) * t
    powers = torch.arange(_NEAR * 4, far * 4 + 1, dtype=torch.float64) / 4
    distance = 2.0**powers
    if math.isfinite(start):
        return start + distance
    left = -distance.flip(0)
    if math.isfinite(end):
        return end + left
    return torch.cat([left, torch.zeros(1, dtype=torch.float64), distance])


def _anchor(start: float, end: float) -> float:
    if math.isfinite(start) and math.isfinite(end):
        return (start + end) / 2
    return start + 1 if math.isfinite(start) else end - 1 if math.isfinite(end) else 0.0


def _one_sided(piece: tuple[float, float]) -> tuple[tuple[float, float], ...]:
    """The whole line in two halves, because the slope has a limit of its own at either end."""
    return ((-math.inf, 0.0), (0.0, math.inf)) if piece == _WHOLE_LINE else (piece,)


def _limit(slope: Map, start: float, end: float) -> float | None:
    """Slope at the infinite end of a piece that flattens out; None where it has no such end, or grows for ever."""
    if math.isfinite(start) == math.isfinite(end):
        return None
    far = _value(slope, 2.0**_FARTHEST if math.isfinite(start) else -(2.0**_FARTHEST))
    return far if math.isfinite(far) and abs(far) < 2.0 ** (_FARTHEST / 4) else None


def _derivative(f: Map) -> Map:
    """By reverse differentiation, which every operator that can be trained supports."""

    def derivative(x: Tensor) -> Tensor:
        y = f(x)
        return pulled_back(f, x.expand_as(y), torch.ones_like(y))

    return derivative


def _with_difference(slope: Map) -> Jet:
    """The slope, and its rate of change from a difference: enough to steer a search in a bracket."""

    def jet(x: Tensor) -> tuple[Tensor, Tensor]:
        step = (1 + x.abs()) * torch.finfo(x.dtype).eps ** (1 / 3)
        slopes = slope(torch.stack([x, x + step, x - step]))
        return slopes[0], (slopes[1] - slopes[2]) / (2 * step)

    return jet


def _at_the_ends(
    f: Map, slope: Map, low: tuple[float, int], high: tuple[float, int]
) -> tuple[Map, tuple[float, ...]]:
    """The slope with its limits at those ends of the domain where it is infinite, and these ends.

    Each end comes with the sign of the limit. Differentiation itself may give the wrong one: that of
    the square root is minus infinity at -0.0.
    """
    limits = [
        (x, sign) for x, sign in (low, high) if math.isfinite(x) and _finite(f, x) and not _finite(slope, x)
    ]
    if not limits:
        return slope, ()

    def limited(x: Tensor) -> Tensor:
        k = slope(x)
        for end, sign in limits:
            k = torch.where(x == end, -sign * math.inf, k)
        return k

    return limited, tuple(x for x, _ in limits)


def _check_derivative(f: Map, df: Map, x: Tensor) -> None:
    stated, true = df(x), _derivative(f)(x)
    wrong = (stated - true).abs() > 1e-6 * (1 + true.abs())  # false where either is NaN
    if bool(wrong.any()):
        i = int(torch.where(wrong, x.abs(), torch.inf).argmin())
        raise OptionError(
            f"df is not the derivative of f: at x = {x[i].item():.6g} it gives {stated[i].item():.6g}, "
            f"but f changes at the rate {true[i].item():.6g}."
        )


def _bend(slope: Map, start: float, end: float) -> int:
    """`CONVEX` or `CONCAVE`, or 0 for a straight piece."""
    x = _points(start, end, _FAR)
    slopes = slope(x)
    x, slopes = x[slopes.isfinite()], slopes[slopes.isfinite()]
    if len(x) < 2:
        raise OptionError(f"f' is not finite between {start:g} and {end:g}; state the domain of f.")
    change = slopes.diff()
    noise = _NOISE * change.abs().max() + 16 * torch.finfo(slopes.dtype).eps * slopes.abs().max()
    rises, falls = change > noise, change < -noise
    if bool(rises.any()) and bool(falls.any()):
        turn = (rises.int() - falls.int())[rises | falls].diff().nonzero()[0, 0]
        at = x[1:][rises | falls][turn]
        raise OptionError(
            f"f' both rises and falls between {start:g} and {end:g}: it turns near x = {at.item():.6g}. An "
            "inflection is missing or in the wrong place."
        )
    return CONVEX if bool(rises.any()) else CONCAVE if bool(falls.any()) else 0


def _sign_changes(slope: Map, x: Tensor, slopes: Tensor) -> tuple[float, ...]:
    """Where `f'` changes its sign, to the last place."""
    x, slopes = x[slopes != 0], slopes[slopes != 0]
    found = []
    for i in (slopes.sign().diff() != 0).nonzero().flatten().tolist():
        low, high, sign = x[i].item(), x[i + 1].item(), slopes[i].sign().item()
        while low < (middle := low / 2 + high / 2) < high:
            same = math.copysign(1.0, _value(slope, middle)) == sign
            low, high = (middle, high) if same else (low, middle)
        found.append(high)
    return tuple(found)


def _outside(f: Map, low: float, high: float) -> Callable[[Tensor, Tensor], Tensor] | None:
    if (low, high) == _WHOLE_LINE:
        return None
    closed_low, closed_high = _finite(f, low), _finite(f, high)

    def outside(lo: Tensor, hi: Tensor) -> Tensor:
        return ((lo < low) if closed_low else (lo <= low)) | ((hi > high) if closed_high else (hi >= high))

    return outside


def _value(function: Map, x: float) -> float:
    return function(torch.tensor([x], dtype=torch.float64)).item()


def _finite(function: Map, x: float) -> bool:
    return math.isfinite(_value(function, x))


__all__ = ["smooth", "smooth_curve"]
