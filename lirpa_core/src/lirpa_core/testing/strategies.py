"""Hypothesis strategies for boxes: the wide ones, and those on which rules tend to fail."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

try:
    from hypothesis import strategies as st
except ImportError as error:  # pragma: no cover - depends on the installation
    raise ImportError("lirpa_core.testing needs hypothesis: pip install 'lirpa-core[testing]'") from error

from lirpa_core.bounds.interval import Interval
from lirpa_core.capture.graph import Shape
from lirpa_core.registry.conformance import ANYWHERE, Domain

#: Kinds of boxes. Every element of a box is of the kind; `mixed` draws a kind for each element.
REGIMES = ("wide", "thin", "degenerate", "huge", "tiny", "kinks", "mixed")

_TINY = (0.0, 5e-324, 1e-310, 2.2250738585072014e-308, 1e-300, 1e-200, 1e-100, 1e-30, 1e-12)
#: Boxes around zero so narrow that one over their width overflows.
_DENORMAL = ((-5e-324, 5e-324), (-1e-310, 5e-324), (-5e-324, 1e-310), (-1e-310, 1e-310))

#: Elements that are drawn one by one, at least; larger boxes repeat them in a random order.
_DRAWN = 48


def edges(
    regime: str, *, kinks: Sequence[float] = (0.0,), domain: Domain = ANYWHERE
) -> st.SearchStrategy[tuple[float, float]]:
    """Lower and upper end of one element.

    Args:
        regime: One of `REGIMES`: `wide` within ±10, `thin` 1e-12 wide, `degenerate` `l = u`, `huge` up to
            ±1e6, `tiny` down to denormal numbers, `kinks` starting, ending at or straddling a kink by as
            little as one unit in the last place, `mixed` any of these.
        kinks: Where the function or its curvature changes character.
        domain: Range that both ends are clamped to.
    """
    if regime == "mixed":
        return st.one_of([edges(r, kinks=kinks, domain=domain) for r in REGIMES if r != "mixed"])
    kinks = tuple(kinks) or (0.0,)
    low, high = domain
    base = low if math.isfinite(low) else min(high, 0.0)
    usual = _floats(max(low, -10.0), min(high, 10.0), base)
    if regime == "wide":
        drawn = st.sampled_from([(-1.0, 1.0), (0.0, 0.0), (1.0, 2.0), (-2.0, -1.0)]) | st.tuples(usual, usual)
    elif regime == "thin":
        drawn = st.tuples(usual, st.sampled_from([1.0, 2.0, 0.5])).map(lambda p: (p[0], p[0] + 1e-12 * p[1]))
    elif regime == "degenerate":
        drawn = st.one_of(usual, st.sampled_from(kinks)).map(lambda c: (c, c))
    elif regime == "huge":
        far = st.sampled_from([0.0, 1.0, 1e3, 1e5, 1e6]) | _floats(0.0, 1e6, 0.0)
        drawn = st.tuples(far, far, st.sampled_from([-1.0, 1.0])).map(lambda p: (-p[0], -p[1] * p[2]))
        drawn = st.tuples(drawn, st.sampled_from([1.0, -1.0])).map(lambda p: (p[0][0] * p[1], p[0][1] * p[1]))
    elif regime == "tiny":
        small = st.tuples(st.sampled_from(_TINY), st.sampled_from([1.0, -1.0])).map(
            lambda p: p[0] * p[1] + 0.0
        )
        near = st.one_of(st.tuples(small, small), st.tuples(small, small), st.sampled_from(_DENORMAL))
        drawn = near if low <= 0 <= high else near.map(lambda p: (base + p[0], base + p[1]))
    elif regime == "kinks":
        drawn = st.tuples(st.sampled_from(kinks), _offsets(), _offsets()).map(_around)
    else:
        raise ValueError(f"unknown regime {regime!r}; there are: {', '.join(REGIMES)}")
    return drawn.map(lambda p: _ordered(p, low, high))


def boxes(
    shape: Shape,
    *,
    batch: int = 3,
    regime: str = "mixed",
    kinks: Sequence[float] = (0.0,),
    domain: Domain = ANYWHERE,
    dtype: torch.dtype = torch.float64,
) -> st.SearchStrategy[Interval]:
    """Intervals `[batch, *shape]` of one regime. See `edges`."""
    count = batch * math.prod(shape)
    drawn = min(count, max(_DRAWN, 2 * batch))
    generator = torch.Generator().manual_seed(count)
    again = torch.randint(max(drawn, 1), (count - drawn,), generator=generator)

    def build(pairs: list[tuple[float, float]]) -> Interval:
        ends = torch.tensor(pairs, dtype=dtype).reshape(drawn, 2)
        ends = torch.cat([ends, ends[again]])  # in another order, so that no two examples are alike
        return Interval(ends[:, 0].reshape(batch, *shape).clone(), ends[:, 1].reshape(batch, *shape).clone())

    element = edges(regime, kinks=kinks, domain=domain)
    return st.lists(element, min_size=drawn, max_size=drawn).map(build)


def operand_boxes(
    shapes: Sequence[Shape],
    *,
    batch: int = 3,
    regime: str = "mixed",
    kinks: Sequence[float] = (0.0,),
    domains: Sequence[Domain] | None = None,
    dtype: torch.dtype = torch.float64,
) -> st.SearchStrategy[tuple[Interval, ...]]:
    """One interval an operand, as `check_rule` takes them.

    Args:
        shapes: Shape of one example of each operand.
        batch: Number of examples.
        regime: See `edges`.
        kinks: See `edges`.
        domains: One range an operand.
        dtype: Element type.
    """
    domains = [ANYWHERE] * len(shapes) if domains is None else domains
    return st.tuples(
        *(
            boxes(s, batch=batch, regime=regime, kinks=kinks, domain=d, dtype=dtype)
            for s, d in zip(shapes, domains, strict=True)
        )
    )


def _floats(low: float, high: float, base: float) -> st.SearchStrategy[float]:
    if not low < high:
        return st.just(min(max(base, low), high))
    plain = st.floats(low, high, allow_nan=False, allow_infinity=False, allow_subnormal=False)
    whole = [v for v in (0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0) if low <= v <= high]
    return st.one_of(st.sampled_from(whole), plain) if whole else plain


def _offsets() -> st.SearchStrategy[float]:
    """Signed distances from a kink; NaN stands for one unit in the last place."""
    return st.sampled_from([0.0, math.nan, 1e-9, 1e-3, 0.5, 1.0, 4.0])


def _around(drawn: tuple[float, float, float]) -> tuple[float, float]:
    kink, below, above = drawn
    lower = math.nextafter(kink, -math.inf) if math.isnan(below) else kink - below
    upper = math.nextafter(kink, math.inf) if math.isnan(above) else kink + above
    return lower, upper


def _ordered(pair: tuple[float, float], low: float, high: float) -> tuple[float, float]:
    lower, upper = sorted(min(max(end, low), high) for end in pair)
    return lower, upper
