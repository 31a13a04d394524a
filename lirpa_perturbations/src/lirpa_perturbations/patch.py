"""Patches: an adversary, or an obstacle, covers a rectangle of an image at a place of its choice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lirpa_core import Interval, Perturbation
from lirpa_core.errors import PerturbationError
from lirpa_core.linear.coefficients import Coefficients
from lirpa_core.perturbations import Limit, broadcasts, parse_limit, require_real_finite, show
from lirpa_perturbations.box import align, like, nearer_by, parse_box, random_in, require_inside, slack, walls


@dataclass(frozen=True, eq=False, repr=False)
class PerturbationPatch(Perturbation):
    """An image of which at most one rectangle is changed, anywhere or at given positions.

    Inside the rectangle, pixels take any value of the box `[x_L, x_U]`, in which the nominal ones must lie
    (the patch attack of Chiang et al. 2020, "Certified Defenses for Adversarial Patches"); or, with
    `fill`, exactly that value (occlusion), and the image without a patch belongs to the set as well.
    Rectangles lie wholly inside the image; all channels of a pixel are covered.

    Bounds are exact: the minimum of `A·z` is `A·x` less the largest sum over a window of the pixels'
    gains.

    Attributes:
        size: Height and width of the rectangle, or one number for both.
        x_L: Lower limits: a number, or a tensor broadcastable to the perturbed one.
        x_U: Upper limits.
        positions: Integer tensor `[P, 2]` of row and column of the rectangle's upper left pixel; None: any.
        fill: What the rectangle shows: a number, or a tensor broadcastable to the perturbed one; None: the
            adversary chooses.

    Raises:
        PerturbationError: Naming the argument: a `size` below one or larger than the image, `positions`
            outside of it or none at all, limits that cross or leave out the nominal value.
    """

    size: Any
    x_L: Any = 0.0
    x_U: Any = 1.0
    positions: Tensor | None = None
    fill: Any = None

    def __post_init__(self) -> None:
        size = tuple(self.size) if isinstance(self.size, (tuple, list)) else (self.size, self.size)
        if len(size) != 2 or not all(type(s) is int and s >= 1 for s in size):
            raise PerturbationError(f"size must be one or two whole numbers of at least 1, not {self.size!r}")
        object.__setattr__(self, "size", size)
        x_L, x_U = parse_box(self.x_L, self.x_U)
        object.__setattr__(self, "x_L", x_L)
        object.__setattr__(self, "x_U", x_U)
        fill = parse_limit("fill", self.fill)
        if fill is not None and not bool(torch.as_tensor(fill).detach().isfinite().all()):
            raise PerturbationError(f"fill must be finite, but is {show(fill)}")
        object.__setattr__(self, "fill", fill)
        if self.positions is not None:
            at = torch.as_tensor(self.positions)
            if at.is_floating_point() or at.dim() != 2 or at.shape[1] != 2 or at.shape[0] == 0:
                raise PerturbationError(
                    f"positions must be whole numbers [P, 2], at least one row and column, not {at.dtype} of "
                    f"shape {list(at.shape)}"
                )
            object.__setattr__(self, "positions", at.long())

    @property
    def is_box(self) -> bool:
        return False

    def validate(self, x: Tensor) -> None:
        require_real_finite(x)
        if x.dim() < 3:
            raise PerturbationError(
                f"the perturbed tensor must be images [B, ..., H, W], but has shape {list(x.shape)}"
            )
        places = [x.shape[-2] - self.size[0], x.shape[-1] - self.size[1]]
        if min(places) < 0:
            raise PerturbationError(f"size is {self.size}, larger than the image's {list(x.shape[-2:])}")
        if self.positions is not None:
            outside = (self.positions < 0) | (
                self.positions > torch.tensor(places, device=self.positions.device)
            )
            if bool(outside.any()):
                first = self.positions[outside.any(1)][0].tolist()
                raise PerturbationError(
                    f"positions must lie between [0, 0] and {places}, so that the rectangle fits into the "
                    f"image, but one is {first}"
                )
        if self.fill is None:
            require_inside(x, self.x_L, self.x_U)
        elif isinstance(self.fill, Tensor) and not broadcasts(self.fill, x):
            raise PerturbationError(
                f"fill has shape {list(self.fill.shape)}, which does not broadcast to the perturbed tensor's "
                f"{list(x.shape)} (examples first)"
            )

    def aligned(self, batch_dim: int | None, ndim: int) -> PerturbationPatch:
        return self._with(lambda limit: align(limit, batch_dim, ndim))

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> PerturbationPatch:
        return self._with(lambda limit: function(limit) if isinstance(limit, Tensor) else limit)

    def _with(self, change: Callable[[Limit], Limit]) -> PerturbationPatch:
        fill = None if self.fill is None else change(self.fill)
        return replace(self, x_L=change(self.x_L), x_U=change(self.x_U), fill=fill)

    def hull(self, x: Tensor) -> Interval:
        lower, upper = self._ends(x)
        covered = self._coverage(x)
        return Interval(torch.where(covered, lower, x), torch.where(covered, upper, x))

    def concretize(self, x: Tensor, A: Coefficients) -> Tensor:
        if A.reads_single_elements:
            hull = self.hull(x)
            return A.split_dot(hull.lower, hull.upper)
        if self.fill is None:
            lower, upper = walls(x, self.x_L, self.x_U)
            gains = A.relax(x - lower, x - upper)
        else:
            gains = A.scale(x - self._filled(x))
        return A.dot(x) - self._windows(gains.to_dense(), x).amax(-1).clamp(min=0)

    def sample(self, x: Tensor, n: int, generator: torch.Generator | None = None) -> Tensor:
        with torch.no_grad():
            places = self._windows(x.unsqueeze(0), x).shape[-1]
            window = torch.randint(places, (n, x.shape[0]), device=x.device, generator=generator)
            inside = self._cover(window, x)
            if self.fill is not None:
                untouched = torch.arange(n, device=x.device).reshape(-1, *[1] * x.dim()) == 0
                return torch.where(inside & ~untouched, self._filled(x), x)
            return torch.where(inside, random_in(*self._box(x), n, generator), x)

    def contains(self, x: Tensor, z: Tensor) -> Tensor:
        """Which candidates belong to the set: `[n, B]` for `z` of `[n, B, *S]`.

        The allowance for rounding is 32 units in the last place of the element.
        """
        lower, upper = self._ends(x)
        allowed = slack(x, z, lower, upper)
        changed = ((z - x).abs() > allowed).to(x.dtype)
        if self.fill is None:
            lower, upper = self._box(x)
            wrong = (z < lower - allowed) | (z > upper + allowed)
        else:
            wrong = (z - self._filled(x)).abs() > allowed
        outside = changed.flatten(2).sum(-1, keepdim=True) - self._windows(changed, x)
        fits = (outside == 0) & (self._windows(wrong.to(x.dtype), x) == 0)
        unchanged = changed.flatten(2).sum(-1) == 0
        if self.fill is None:
            return fits.any(-1)
        return fits.any(-1) | unchanged

    def project(self, x: Tensor, z: Tensor) -> Tensor:
        if self.fill is None:
            lower, upper = self._box(x)
            moved = z.maximum(lower).minimum(upper)
        else:
            moved = self._filled(x).expand_as(z)
        best, window = self._windows(nearer_by(x, moved, z), x).max(-1)
        used = (best > 0).reshape(*best.shape, *[1] * (x.dim() - 1))
        return torch.where(self._cover(window, x) & used, moved, x)

    def _box(self, x: Tensor) -> tuple[Tensor, Tensor]:
        lower, upper = walls(x, self.x_L, self.x_U)
        return lower.expand_as(x), upper.expand_as(x)

    def _filled(self, x: Tensor) -> Tensor:
        return like(self.fill, x).expand_as(x)

    def _ends(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Least and largest value of a covered pixel, the untouched one included."""
        if self.fill is None:
            return self._box(x)
        fill = self._filled(x)
        return fill.minimum(x), fill.maximum(x)

    def _windows(self, values: Tensor, x: Tensor) -> Tensor:
        """Sum over each rectangle: `[n, B, *S]` to `[n, B, P]`."""
        H, W = x.shape[-2:]
        pixels = values.reshape(*values.shape[:2], -1, H, W).sum(2)  # [n, B, H, W]
        sums = F.avg_pool2d(pixels, self.size, stride=1, divisor_override=1)
        if self.positions is None:
            return sums.flatten(2)
        at = self.positions.to(x.device)
        return sums[:, :, at[:, 0], at[:, 1]]

    def _cover(self, window: Tensor, x: Tensor) -> Tensor:
        """Which pixels each rectangle `[n, B]` covers: boolean `[n, B, 1.., H, W]`."""
        if self.positions is None:
            columns = x.shape[-1] - self.size[1] + 1
            row, column = window // columns, window % columns
        else:
            row, column = self.positions.to(x.device)[window].unbind(-1)
        return self._rectangles(row, column, x)

    def _coverage(self, x: Tensor) -> Tensor:
        """Which pixels some rectangle covers: boolean `[H, W]`."""
        H, W = x.shape[-2:]
        if self.positions is None:
            return torch.ones(H, W, dtype=torch.bool, device=x.device)
        row, column = self.positions.to(x.device).unbind(-1)
        return self._rectangles(row, column, x).reshape(-1, H, W).any(0)

    def _rectangles(self, row: Tensor, column: Tensor, x: Tensor) -> Tensor:
        H, W = x.shape[-2:]

        def within(start: Tensor, size: int, end: int) -> Tensor:
            index = torch.arange(end, device=x.device)
            return (index >= start.unsqueeze(-1)) & (index < start.unsqueeze(-1) + size)

        inside = within(row, self.size[0], H).unsqueeze(-1) & within(column, self.size[1], W).unsqueeze(-2)
        return inside.reshape(*row.shape, *[1] * (x.dim() - 3), H, W)

    def __repr__(self) -> str:
        what = (
            f"fill={show(self.fill)}"
            if self.fill is not None
            else f"x_L={show(self.x_L)}, x_U={show(self.x_U)}"
        )
        where = "" if self.positions is None else f", positions={list(self.positions.shape)}"
        return f"PerturbationPatch(size={self.size}, {what}{where})"
