"""What softmax and its logarithm need to know of a box of scores, and the sums that leave one out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_core.rules.relaxations import relative_chord


@dataclass(frozen=True, eq=False)
class Scores:
    """A box of scores along one dimension, all of it shifted so that the largest upper end is zero.

    With `Tᵢ(x) = log Σ_{j≠i} exp xⱼ` and `zᵢ = xᵢ − Tᵢ(x)`, softmax is `σ(zᵢ)`: one score against all others.

    Attributes:
        low: Shifted lower ends, `[B, *S]`; −∞ for scores that are left out.
        up: Shifted upper ends, `[B, *S]`; −∞ for scores that are left out.
        live: Scores that take part, and are not the only one to do so.
        alone: Scores that are the only one to take part: their softmax is one.
        others_low: `T` of the lower ends; zero where the score is not live.
        others_up: `T` of the upper ends; zero where the score is not live.
        origin: The unshifted midpoint, zero where the score is left out: where planes are anchored.
        dim: The dimension, counted from the end.
    """

    low: Tensor
    up: Tensor
    live: Tensor
    alone: Tensor
    others_low: Tensor
    others_up: Tensor
    origin: Tensor
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
        shift = torch.where(kept, upper, -math.inf).amax(dim, keepdim=True).detach()
        shift = torch.where(shift.isfinite(), shift, 0)
        low = torch.where(kept, torch.where(kept, lower, 0) - shift, -math.inf)
        up = torch.where(kept, torch.where(kept, upper, 0) - shift, -math.inf)
        several = kept.sum(dim, keepdim=True) > 1
        live = kept & several
        others_low, others_up = others(low, dim, live), others(up, dim, live)
        origin = torch.where(kept, torch.where(kept, lower, 0) / 2 + torch.where(kept, upper, 0) / 2, 0)
        return cls(low, up, live, kept & ~several, others_low, others_up, origin, dim)

    def filled(self, x: Tensor, value: float = 0.0) -> Tensor:
        """`x` with another value where the score is not live, so that arithmetic stays finite."""
        return torch.where(self.live, x, value)

    @property
    def midpoint(self) -> Tensor:
        """Shifted centre; −∞ for scores that are left out."""
        return self.low / 2 + self.up / 2

    @property
    def advantage(self) -> tuple[Tensor, Tensor]:
        """Smallest and largest `z`; zero where the score is not live."""
        low = self.filled(self.low) - self.others_up
        return low, torch.maximum(self.filled(self.up) - self.others_low, low)

    @property
    def chords(self) -> Tensor:
        """Slope of the chord of `exp` over each shifted score; zero for scores that are left out."""
        up, low = self.filled(self.up), self.filled(self.low)
        return self.filled(up.exp() * relative_chord(up - low))


def others(x: Tensor, dim: int, live: Tensor) -> Tensor:
    """`log Σ_{j≠i} exp xⱼ` along a dimension, without subtracting numbers that cancel.

    The largest element is the only one whose rest may be small compared with the whole; its rest is
    summed by itself.

    Args:
        x: `[B, *S]`, −∞ for elements that are left out.
        dim: The dimension.
        live: Elements whose result is wanted; the others get zero.
    """
    largest = x.detach().argmax(dim, keepdim=True)
    top = torch.zeros_like(x, dtype=torch.bool).scatter(dim, largest, True)
    rest = torch.where(top, -math.inf, x)
    first, second = _finite_max(x, dim), _finite_max(rest, dim)
    e = (rest - first).exp()
    leader = torch.where(top, x - first, -math.inf).exp().sum(dim, keepdim=True)
    of_most = leader + (e.sum(dim, keepdim=True) - e)
    of_top = (rest - second).exp().sum(dim, keepdim=True)
    total = torch.where(live, torch.where(top, of_top, of_most), 1)
    return torch.where(live, torch.where(top, second, first) + total.log(), 0)


def _finite_max(x: Tensor, dim: int) -> Tensor:
    largest = x.detach().amax(dim, keepdim=True)
    return torch.where(largest.isfinite(), largest, 0)
