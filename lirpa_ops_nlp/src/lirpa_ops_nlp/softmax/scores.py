"""What softmax and its logarithm need to know of a box of scores, and the sums that leave one out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_core.rules.relaxations import one_largest, relative_chord


@dataclass(frozen=True, eq=False)
class Rest:
    """`T = log Σ_{j≠i} exp xⱼ` in two parts, because what is subtracted from `T` may be as large as `T`.

    Attributes:
        peak: The largest of the others.
        above: `T` less the peak, between zero and the logarithm of their number. Both are zero where the score is not live.
    """

    peak: Tensor
    above: Tensor

    def behind(self, x: Tensor) -> Tensor:
        """`x − T`: off by the rounding of what is left, not by that of scores that are far above both."""
        return (x - self.peak) - self.above

    def since(self, origin: Tensor) -> Tensor:
        """`T` counted from a number that all scores of a vector share."""
        return (self.peak - origin) + self.above


@dataclass(frozen=True, eq=False)
class Scores:
    """A box of scores along one dimension.

    With `Tᵢ(x) = log Σ_{j≠i} exp xⱼ` and `zᵢ = xᵢ − Tᵢ(x)`, softmax is `σ(zᵢ)`: one score against all others. What a
    single output depends on is counted from the largest of its own others: a common origin, such as the largest upper end,
    may be so far above all that the output depends on that nothing would be left of it. Only factors that are exponentials
    have one.

    Attributes:
        lower: Lower ends, `[B, *S]`; −∞ for scores that are left out.
        upper: Upper ends, `[B, *S]`; −∞ for scores that are left out.
        live: Scores that take part, and are not the only one to do so.
        alone: Scores that are the only one to take part: their softmax is one.
        rest_low: `T` of the lower ends.
        rest_up: `T` of the upper ends.
        peak: The largest upper end, `[B, *S]` with a size of one along the dimension: the origin of the exponentials.
        dim: The dimension, counted from the end.
    """

    lower: Tensor
    upper: Tensor
    live: Tensor
    alone: Tensor
    rest_low: Rest
    rest_up: Rest
    peak: Tensor
    dim: int

    @classmethod
    def of(cls, lower: Tensor, upper: Tensor, keep: Tensor | None, dim: int) -> Scores:
        """Prepare a box.

        Args:
            lower: `[B, *S]`.
            upper: `[B, *S]`; scores whose upper end is −∞ are left out.
            keep: Which scores take part, broadcastable to `[B, *S]`; default: all.
            dim: The dimension, counted from the end.
        """
        kept = upper != -math.inf  # NaN stays, and comes out
        kept = kept if keep is None else kept & keep
        lower, upper = torch.where(kept, lower, -math.inf), torch.where(kept, upper, -math.inf)
        several = kept.sum(dim, keepdim=True) > 1
        live = kept & several
        rest_low, rest_up = others(lower, dim, live), others(upper, dim, live)
        return cls(lower, upper, live, kept & ~several, rest_low, rest_up, _finite_max(upper, dim), dim)

    def filled(self, x: Tensor, value: float = 0.0) -> Tensor:
        """`x` with another value where the score is not live, so that arithmetic stays finite."""
        return torch.where(self.live, x, value)

    @property
    def midpoint(self) -> Tensor:
        """The centre; −∞ for scores that are left out."""
        return self.lower / 2 + self.upper / 2

    @property
    def centre(self) -> Tensor:
        """The centre, counted from the peak: that of the chords, to the last digit, which `midpoint` may have lost.

        Where a score's own slope cancels, nothing else would account for what the midpoint of large numbers is off by.
        """
        return (self.lower - self.peak) / 2 + (self.upper - self.peak) / 2

    @property
    def advantage(self) -> tuple[Tensor, Tensor]:
        """Smallest and largest `z`; zero where the score is not live."""
        low = self.filled(self.rest_up.behind(self.filled(self.lower)))
        return low, torch.maximum(self.filled(self.rest_low.behind(self.filled(self.upper))), low)

    @property
    def chords(self) -> Tensor:
        """Slope of the chord of `exp` over each score, counted from the peak; zero for scores that are left out."""
        up, width = self.filled(self.upper - self.peak), self.filled(self.upper) - self.filled(self.lower)
        return self.filled(up.exp() * relative_chord(width))


def others(x: Tensor, dim: int, live: Tensor) -> Rest:
    """`log Σ_{j≠i} exp xⱼ` along a dimension, without subtracting numbers that cancel.

    The largest element is the only one whose rest may be small compared with the whole; its rest is
    summed by itself.

    Args:
        x: `[B, *S]`, −∞ for elements that are left out.
        dim: The dimension.
        live: Elements whose result is wanted; the others get zero.
    """
    top = one_largest(x, [dim])
    rest = torch.where(top, -math.inf, x)
    first, second = _finite_max(x, dim), _finite_max(rest, dim)
    e = (rest - first).exp()
    leader = torch.where(top, x - first, -math.inf).exp().sum(dim, keepdim=True)
    of_most = leader + (e.sum(dim, keepdim=True) - e)
    of_top = (rest - second).exp().sum(dim, keepdim=True)
    total = torch.where(live, torch.where(top, of_top, of_most), 1)
    return Rest(torch.where(live, torch.where(top, second, first), 0), total.log())


def _finite_max(x: Tensor, dim: int) -> Tensor:
    largest = x.detach().amax(dim, keepdim=True)
    return torch.where(largest.isfinite(), largest, 0)
