"""L0: a few pixels change, each to any value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lirpa_core import Interval, Perturbation
from lirpa_core.errors import PerturbationError
from lirpa_core.linear.coefficients import Coefficients
from lirpa_core.perturbations import Limit, require_real_finite, show
from lirpa_perturbations.box import align, nearer_by, parse_box, random_in, require_inside, slack, walls
from lirpa_perturbations.budget import (
    Count,
    counts,
    parse_count,
    require_count,
    show_count,
    top_mask,
    top_sum,
)
from lirpa_perturbations.grouping import Grouping


@dataclass(frozen=True, eq=False, repr=False)
class PerturbationL0Norm(Perturbation):
    """All values that differ from the nominal one in at most `eps` pixels.

    A changed pixel takes any value of the box `[x_L, x_U]`, in which the nominal value must lie. Bounds
    are exact: the pixels contribute independently, so the minimum of `A·z` is `A·x` less the `eps`
    largest of the pixels' gains, where a pixel gains the sum over its elements of
    `max(A(x - x_L), A(x - x_U))`.

    With a `ratio` below one a changed element only goes that part of the way from its nominal value to
    a limit, which multiplies every gain. The set then grows steadily with `ratio` from a point to the
    whole L0 ball, as the ramp-up of certified training wants it.

    The box hull of this set does not depend on `eps`. Interval propagation therefore bounds what is
    affine in the input by its linear form, as Chiang et al. (2020), "Certified Defenses for Adversarial
    Patches", do for the first layer under sparse attacks.

    Attributes:
        eps: Number of pixels: a whole number, or a tensor of one an example, `[B]`.
        ratio: Part of the way to the limits, in [0, 1].
        x_L: Lower limits: a number, or a tensor broadcastable to the perturbed one.
        x_U: Upper limits.
        group: What counts as one pixel. None: all channels of examples shaped `[C, H, W]` (the first of
            three or more dimensions), and single elements of others. A tuple: the dimensions of one
            example that change together, so `(0,)` for channels, `(-1,)` for embeddings `[T, D]`, `()`
            for single elements. An integer tensor: a label for each element, broadcastable to one
            example.

    Raises:
        PerturbationError: Naming the argument: `eps` negative, fractional or above the number of pixels,
            `ratio` outside [0, 1], limits that cross or leave out the nominal value, a `group` that does
            not fit.
    """

    eps: Any
    ratio: float = 1.0
    x_L: Any = 0.0
    x_U: Any = 1.0
    group: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "eps", parse_count("eps", self.eps))
        ratio = self.ratio
        if isinstance(ratio, bool) or not isinstance(ratio, (int, float)) or not 0 <= ratio <= 1:
            raise PerturbationError(f"ratio must be a number from 0 to 1, not {ratio!r}")
        x_L, x_U = parse_box(self.x_L, self.x_U)
        object.__setattr__(self, "x_L", x_L)
        object.__setattr__(self, "x_U", x_U)
        if self.group is not None:
            object.__setattr__(self, "group", Grouping.parse(self.group))

    @property
    def is_box(self) -> bool:
        return False

    def validate(self, x: Tensor) -> None:
        require_real_finite(x)
        require_inside(x, self._limits[0], self._limits[1])
        shape, grouping = self._grouping(x)
        grouping.validate(shape)
        require_count("eps", self._count, x, grouping.count(shape), "pixels")

    def aligned(self, batch_dim: int | None, ndim: int) -> PerturbationL0Norm:
        x_L, x_U = (align(limit, batch_dim, ndim) for limit in self._limits)
        return replace(self, x_L=x_L, x_U=x_U)

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> PerturbationL0Norm:
        x_L, x_U = (function(v) if isinstance(v, Tensor) else v for v in self._limits)
        return replace(self, x_L=x_L, x_U=x_U)

    def hull(self, x: Tensor) -> Interval:
        lower, upper = self._walls(x)
        none = (counts(self._count, x.device) == 0).reshape(-1, *[1] * (x.dim() - 1))
        return Interval(torch.where(none, x, lower), torch.where(none, x, upper))

    def concretize(self, x: Tensor, A: Coefficients) -> Tensor:
        if A.reads_single_elements:
            hull = self.hull(x)
            return A.split_dot(hull.lower, hull.upper)
        lower, upper = self._walls(x)
        gains = A.relax(x - lower, x - upper).to_dense()  # [R, B, *S], not negative
        shape, grouping = self._grouping(x)
        return A.dot(x) - top_sum(grouping.sum(gains, shape), self._count)

    def sample(self, x: Tensor, n: int, generator: torch.Generator | None = None) -> Tensor:
        with torch.no_grad():
            shape, grouping = self._grouping(x)
            size = (n, x.shape[0], grouping.count(shape))
            score = torch.rand(size, dtype=x.dtype, device=x.device, generator=generator)
            changed = grouping.spread(top_mask(score, self._count), shape)
            lower, upper = self._walls(x)
            return torch.where(changed, random_in(lower, upper, n, generator), x)

    def contains(self, x: Tensor, z: Tensor) -> Tensor:
        """Which candidates belong to the set: `[n, B]` for `z` of `[n, B, *S]`.

        The allowance for rounding is 32 units in the last place of the element; below it, an element
        counts as unchanged.
        """
        lower, upper = self._walls(x)
        allowed = slack(x, z, lower, upper)
        inside = ((z >= lower - allowed) & (z <= upper + allowed)).reshape(*z.shape[:2], -1).all(-1)
        shape, grouping = self._grouping(x)
        changed = grouping.sum(((z - x).abs() > allowed).to(x.dtype), shape) > 0
        return inside & (changed.sum(-1) <= counts(self._count, x.device))

    def project(self, x: Tensor, z: Tensor) -> Tensor:
        lower, upper = self._walls(x)
        moved = z.maximum(lower).minimum(upper)
        shape, grouping = self._grouping(x)
        gains = grouping.sum(nearer_by(x, moved, z), shape)
        chosen = grouping.spread(top_mask(gains, self._count), shape)
        return torch.where(chosen, moved, x)

    @property
    def _count(self) -> Count:
        return self.eps  # type: ignore[no-any-return]

    @property
    def _limits(self) -> tuple[Limit, Limit]:
        return self.x_L, self.x_U

    def _grouping(self, x: Tensor) -> tuple[tuple[int, ...], Grouping]:
        shape = tuple(x.shape[1:])
        return shape, Grouping.of_pixels(shape) if self.group is None else self.group

    def _walls(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Where each changed element may go: two of `[B, *S]`, with `x` between them."""
        lower, upper = walls(x, *self._limits)
        if self.ratio == 1:
            return lower, upper
        return x - self.ratio * (x - lower), x + self.ratio * (upper - x)

    def __repr__(self) -> str:
        box = f"x_L={show(self.x_L)}, x_U={show(self.x_U)}"
        group = "" if self.group is None else ", group=..."
        return f"PerturbationL0Norm(eps={show_count(self._count)}, ratio={self.ratio:g}, {box}{group})"
