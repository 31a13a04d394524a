"""Boxes of a kind, as Hypothesis strategies and at random."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from hypothesis import strategies as st

from lirpa_core.graph import Shape
from lirpa_core.linear import Interval
from lirpa_testing.rules.domains import ANYWHERE, Domain
from lirpa_testing.rules.regimes import REGIMES, Ends, Limits, RandomSource, T, ends_of, require_regime

__all__ = ["REGIMES", "boxes", "edges", "operand_boxes", "random_boxes"]

#: Elements that are drawn one by one, at least; larger boxes repeat them in a random order.
_DRAWN = 48


@dataclass(frozen=True)
class _Drawn:
    """Choices that Hypothesis makes, and makes simpler after a failure."""

    draw: st.DrawFn

    def pick(self, options: Sequence[T]) -> T:
        return self.draw(st.sampled_from(options))

    def between(self, low: float, high: float) -> float:
        return self.draw(st.floats(low, high, allow_nan=False, allow_infinity=False, allow_subnormal=False))


def edges(
    regime: str, *, kinks: Sequence[float] = (0.0,), domain: Domain = ANYWHERE
) -> st.SearchStrategy[Ends]:
    """Lower and upper end of one element.

    Args:
        regime: One of `REGIMES`, see `regimes.ends_of`.
        kinks: Where the function or its curvature changes character.
        domain: Range that both ends are clamped to.
    """
    require_regime(regime)
    limits = Limits.of(domain, kinks)

    @st.composite
    def drawn(draw: st.DrawFn) -> Ends:
        return ends_of(_Drawn(draw), regime, limits)

    return drawn()


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


def random_boxes(
    shapes: Sequence[Shape],
    seed: str,
    *,
    batch: int,
    regime: str | Sequence[str] = "mixed",
    kinks: Sequence[float] = (0.0,),
    domains: Sequence[Domain],
) -> tuple[Interval, ...]:
    """Intervals of a regime, one an operand, whose elements are all drawn, each for itself.

    Much faster than `operand_boxes`, but Hypothesis cannot make them simpler.

    Args:
        shapes: Shape of one example of each operand.
        seed: What tells these boxes from others.
        batch: Number of examples.
        regime: See `edges`. Of several, the examples are of one after the other.
        kinks: See `edges`.
        domains: One range an operand.
    """
    regimes = (regime,) if isinstance(regime, str) else regime
    for each in regimes:
        require_regime(each)
    source = RandomSource(seed)
    found = []
    for shape, domain in zip(shapes, domains, strict=True):
        limits = Limits.of(domain, kinks)
        size = math.prod(shape)
        pairs = [
            ends_of(source, regimes[b % len(regimes)], limits) for b in range(batch) for _ in range(size)
        ]
        ends = torch.tensor(pairs, dtype=torch.float64).reshape(batch, *shape, 2)
        found.append(Interval(ends[..., 0].clone(), ends[..., 1].clone()))
    return tuple(found)
