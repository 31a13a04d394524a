"""Word substitution: a few words of a sentence are exchanged for synonyms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lirpa_core import Interval, Perturbation
from lirpa_core.errors import PerturbationError
from lirpa_core.linear.coefficients import Coefficients, PositionwiseCoefficients
from lirpa_core.perturbations import require_real_finite
from lirpa_perturbations.box import slack
from lirpa_perturbations.budget import parse_count, require_count, show_count
from lirpa_perturbations.knapsack import Alternatives


@dataclass(frozen=True, eq=False, repr=False)
class PerturbationSynonym(Perturbation):
    """All sentences that differ from the nominal one by at most `budget` substitutions.

    For models that start at embeddings: the perturbed tensor is `[B, T, D]`, and at each position either
    the nominal vector stands or one of that position's substitutes, nothing in between. Positions
    without substitutes (padding, names, punctuation) stay as they are, so sentences of different
    lengths share a batch.

    Bounds are exact: with the gain of position t the largest `A_t · (e_t - s)` over its substitutes s,
    the minimum of `A·z` is `A·e` less the `budget` largest gains. (Xu et al. 2020, sec. 4.2, arrive at
    it by a dynamic programme, which is only needed where substitutions cost different amounts; the
    threat model is that of Huang et al. 2019 and Jia et al. 2019.)

    `encode_sentences` makes the tensors from words.

    Attributes:
        budget: Number of substitutions, or what they may cost together where `costs` are given: a whole
            number, or a tensor of one an example, `[B]`.
        substitutes: Embeddings `[B, T, S, D]`, laid out like the perturbed tensor with a dimension for
            the substitutes before the last; without the examples where all share them.
        mask: Which of them exist: boolean `[B, T, S]`; None: all.
        costs: Whole price of each, `[B, T, S]` or broadcastable; None: all cost one.
        eps: Part of the way that a substitution goes from the nominal vector to the substitute, in
            [0, 1]; smaller than one only for the ramp-up of certified training.

    Raises:
        PerturbationError: Naming the argument: a `budget` that is negative or no whole number, tensors
            that do not fit each other or the perturbed one, negative or fractional `costs`.
    """

    budget: Any
    substitutes: Tensor
    mask: Tensor | None = None
    costs: Tensor | None = None
    eps: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "budget", parse_count("budget", self.budget))
        if isinstance(self.eps, bool) or not isinstance(self.eps, (int, float)) or not 0 <= self.eps <= 1:
            raise PerturbationError(f"eps must be a number from 0 to 1, not {self.eps!r}")
        if self.substitutes.dim() not in (3, 4) or self.substitutes.numel() == 0:
            raise PerturbationError(
                f"substitutes must be embeddings [B, T, S, D] or [T, S, D], at least one a position, but have "
                f"shape {list(self.substitutes.shape)}; mark the positions without any in mask"
            )
        require_real_finite(self.substitutes, "substitutes")
        if self.mask is not None:
            _require_fits("mask", self.mask, self.substitutes)
            if self.mask.dtype != torch.bool:
                raise PerturbationError(f"mask must be boolean, not {self.mask.dtype}")
        if self.costs is not None:
            _require_fits("costs", self.costs, self.substitutes)
            whole = self.costs.long()
            if bool((whole != self.costs).any() | (whole < 0).any()):
                raise PerturbationError(
                    "costs must be whole numbers of at least 0; multiply them and budget by a common factor"
                )
            object.__setattr__(self, "costs", whole)

    @property
    def is_box(self) -> bool:
        return False

    def validate(self, x: Tensor) -> None:
        require_real_finite(x)
        if x.dim() != 3:
            raise PerturbationError(
                f"the perturbed tensor must be embeddings [B, T, D], but has shape {list(x.shape)} "
                "(examples first)"
            )
        B, T, _, D = self._vectors.shape
        if tuple(x.shape[1:]) != (T, D) or B not in (1, x.shape[0]):
            raise PerturbationError(
                f"substitutes have shape {list(self.substitutes.shape)} and do not fit the perturbed tensor's "
                f"[B, T, D] = {list(x.shape)}"
            )
        require_count("budget", self.budget, x)

    def aligned(self, batch_dim: int | None, ndim: int) -> PerturbationSynonym:
        if batch_dim is None or batch_dim == 0:
            return self
        if batch_dim != 1:
            raise PerturbationError(f"the examples of embeddings are in dimension 0 or 1, not {batch_dim}")

        def move(value: Tensor | None, rank: int) -> Tensor | None:
            return value.movedim(1, 0) if value is not None and value.dim() == rank else value

        substitutes = move(self.substitutes, 4)
        assert substitutes is not None
        return replace(self, substitutes=substitutes, mask=move(self.mask, 3), costs=move(self.costs, 3))

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> PerturbationSynonym:
        # mask and costs are no real numbers: they follow the substitutes to their device when used
        return replace(self, substitutes=function(self.substitutes))

    def hull(self, x: Tensor) -> Interval:
        possible = self._alternatives(x).affordable().unsqueeze(-1)  # [B, T, S, 1]
        vectors, nominal = self._moved(x), x.unsqueeze(2)
        reached = torch.where(possible, vectors, nominal)
        return Interval(reached.amin(2).minimum(x), reached.amax(2).maximum(x))

    def concretize(self, x: Tensor, A: Coefficients) -> Tensor:
        if A.reads_single_elements:
            hull = self.hull(x)
            return A.split_dot(hull.lower, hull.upper)
        if isinstance(A, PositionwiseCoefficients):
            return self._concretize_images(x, A)
        loss = x.unsqueeze(2) - self._moved(x)  # [B, T, S, D]
        gains = torch.einsum("rbtd,btsd->rbts", A.to_dense(), loss)
        return A.dot(x) - self._alternatives(x).best_sum(gains)

    def _concretize_images(self, x: Tensor, A: PositionwiseCoefficients) -> Tensor:
        """Forms of one element of one word's image have their minimum on the hull of that word's images.

        The images are computed once for all rows, O(B·P·S·D·n), where forms by themselves take
        O(R·B·T·S·D) with `R = P·n`. (Jia et al. 2019, sec. 3.1, bound the first layer this way.)
        """
        nominal = A.images(x)  # [B, P, n]
        reached = A.images(self._moved(x).movedim(2, 0), 2)  # [S, B, P, n]
        possible = self._alternatives(x).affordable()[:, A.positions]  # [B, P, S]
        reached = torch.where(possible.movedim(2, 0).unsqueeze(-1), reached, nominal)
        return A.selected.split_dot(reached.amin(0).minimum(nominal), reached.amax(0).maximum(nominal))

    def sample(self, x: Tensor, n: int, generator: torch.Generator | None = None) -> Tensor:
        with torch.no_grad():
            alternatives = self._alternatives(x)
            shape = (n, x.shape[0], *alternatives.mask.shape[1:])
            gains = torch.rand(shape, dtype=x.dtype, device=x.device, generator=generator)
            # a random few of the alternatives; their random gains then say which the budget goes to
            few = torch.rand((n, 1, 1, 1), dtype=x.dtype, device=x.device, generator=generator)
            keep = torch.rand(shape, dtype=x.dtype, device=x.device, generator=generator) <= few
            return self._place(x, alternatives.choose(torch.where(keep, gains, 0)))

    def contains(self, x: Tensor, z: Tensor) -> Tensor:
        """Which candidates belong to the set: `[n, B]` for `z` of `[n, B, T, D]`.

        Each vector must equal the nominal one or a substitute up to 32 units in the last place.
        """
        vectors, alternatives = self._moved(x), self._alternatives(x)
        same = _equal(z, x)
        price = torch.full_like(same, -1, dtype=torch.long)
        for s in range(vectors.shape[2]):
            fits = _equal(z, vectors[:, :, s]) & alternatives.mask[..., s]
            cost = 1 if alternatives.costs is None else alternatives.costs[..., s]
            cheaper = fits & ((price < 0) | (price > cost))
            price = torch.where(cheaper, cost, price)
        price = torch.where(same, 0, price)
        limit = torch.as_tensor(self.budget, device=x.device)
        return (price >= 0).all(-1) & (price.clamp(min=0).sum(-1) <= limit)

    def project(self, x: Tensor, z: Tensor) -> Tensor:
        vectors, alternatives = self._moved(x), self._alternatives(x)
        shift = vectors - x.unsqueeze(2)  # [B, T, S, D]
        # |z - x|² - |z - s|² = (s - x) · (2z - x - s)
        constant = (shift * (x.unsqueeze(2) + vectors)).sum(-1)
        gains = 2 * torch.einsum("nbtd,btsd->nbts", z, shift) - constant
        return self._place(x, alternatives.choose(gains))

    @property
    def _vectors(self) -> Tensor:
        """`[B or 1, T, S, D]`."""
        return self.substitutes if self.substitutes.dim() == 4 else self.substitutes.unsqueeze(0)

    def _moved(self, x: Tensor) -> Tensor:
        """Where substitution leads, `[B, T, S, D]`."""
        vectors = self._vectors.to(x)
        if self.eps != 1:
            vectors = x.unsqueeze(2) + self.eps * (vectors - x.unsqueeze(2))
        return vectors.expand(max(x.shape[0], vectors.shape[0]), *vectors.shape[1:])

    def _alternatives(self, x: Tensor) -> Alternatives:
        shape, device = self._vectors.shape[:3], x.device
        mask = torch.ones((), dtype=torch.bool) if self.mask is None else self.mask
        costs = None if self.costs is None else self.costs.to(device).expand(shape)
        return Alternatives(mask.to(device).expand(shape), costs, self.budget)

    def _place(self, x: Tensor, chosen: Tensor) -> Tensor:
        """Sentences `[n, B, T, D]` with the chosen substitutes, `[n, B, T]`, -1 for none."""
        vectors = self._moved(x)
        vectors = vectors.expand(*chosen.shape, *vectors.shape[2:])
        index = chosen.clamp(min=0)[..., None, None].expand(*chosen.shape, 1, x.shape[-1])
        return torch.where((chosen >= 0).unsqueeze(-1), vectors.gather(-2, index).squeeze(-2), x)

    def __repr__(self) -> str:
        costs = "" if self.costs is None else ", costs=..."
        eps = "" if self.eps == 1 else f", eps={self.eps:g}"
        words = f"substitutes={list(self.substitutes.shape)}"
        return f"PerturbationSynonym(budget={show_count(self.budget)}, {words}{costs}{eps})"


def _require_fits(name: str, value: Any, substitutes: Tensor) -> None:
    wanted = substitutes.shape[:-1]
    try:
        fits = torch.broadcast_shapes(value.shape, wanted) == wanted
    except (AttributeError, RuntimeError):
        fits = False
    if not fits:
        given = f"has shape {list(value.shape)}" if isinstance(value, Tensor) else f"is {value!r}"
        raise PerturbationError(f"{name} {given}, but must fit the substitutes' {list(wanted)}")


def _equal(z: Tensor, vector: Tensor) -> Tensor:
    """Which vectors are the same up to rounding: `[n, B, T]` for `[n, B, T, D]` and `[B, T, D]`."""
    return ((z - vector).abs() <= slack(z, vector)).all(-1)
