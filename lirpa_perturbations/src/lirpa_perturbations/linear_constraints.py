"""Linear constraints: points of a box for which `A z ≤ b`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lirpa_core import Interval, Perturbation
from lirpa_core.errors import PerturbationError
from lirpa_core.linear.coefficients import Coefficients
from lirpa_core.perturbations import require_real_finite, show
from lirpa_perturbations.box import ULPS, align, parse_box, random_in, require_inside, slack, walls
from lirpa_perturbations.linear_program import bound, contradiction, least
from lirpa_perturbations.polytope_projection import nearest

_TIGHTENINGS = 2


@dataclass(frozen=True, eq=False, repr=False)
class PerturbationLinearConstraints(Perturbation):
    """All points of the box `[x_L, x_U]` that satisfy `A z ≤ b`; the nominal value must be one of them.

    Relations between features (a total, an order, a physical law) make bounds tighter than a box does. The
    minimum of a linear form is a linear programme. The dual simplex method solves it, and weak duality turns
    its multipliers into a bound that holds whatever they are.

    Attributes:
        A: Constraints `[m, ...]`, where the rest broadcasts to the perturbed tensor.
        b: Right-hand sides `[m]`, or `[m, B]` for one an example.
        x_L: Lower limits: a number, or a tensor broadcastable to the perturbed one.
        x_U: Upper limits.
        iterations: Most steps of the simplex method. A few for each constraint are usual; where they do not
            suffice, bounds are sound but not exact.

    Raises:
        PerturbationError: Naming the argument: shapes that do not fit, limits that cross, constraints
            that no point of the box or not the nominal value satisfies.
    """

    A: Tensor
    b: Tensor
    x_L: Any = 0.0
    x_U: Any = 1.0
    iterations: int = 1000

    def __post_init__(self) -> None:
        for name in ("A", "b"):
            value = getattr(self, name)
            if not isinstance(value, Tensor) or value.dim() == 0 or value.shape[0] == 0:
                raise PerturbationError(
                    f"{name} must be a tensor with at least one constraint, not {value!r}"
                )
            require_real_finite(value, name)
        if self.b.dim() > 2 or self.b.shape[0] != self.A.shape[0]:
            raise PerturbationError(
                f"b must be [m] or [m, B], but has shape {list(self.b.shape)} for the m = {self.A.shape[0]} "
                "constraints of A"
            )
        x_L, x_U = parse_box(self.x_L, self.x_U)
        object.__setattr__(self, "x_L", x_L)
        object.__setattr__(self, "x_U", x_U)
        if type(self.iterations) is not int or self.iterations < 1:
            raise PerturbationError(
                f"iterations must be a whole number of at least 1, not {self.iterations!r}"
            )

    @property
    def is_box(self) -> bool:
        return False

    def validate(self, x: Tensor) -> None:
        require_real_finite(x)
        rest = self.A.shape[1:]
        pairs = zip(reversed(rest), reversed(x.shape), strict=False)
        if len(rest) > x.dim() or any(have not in (1, want) for have, want in pairs):
            raise PerturbationError(
                f"A has shape {list(self.A.shape)}; behind its first dimension it must broadcast to the "
                f"perturbed tensor's {list(x.shape)} (examples first)"
            )
        if self.b.dim() == 2 and self.b.shape[1] not in (1, x.shape[0]):
            raise PerturbationError(f"b has {self.b.shape[1]} columns for {x.shape[0]} examples")
        plain = x.detach()
        excess = self._excess(plain, plain.unsqueeze(0))[0]  # [B, m]
        if not bool((excess > 0).any()):
            require_inside(x, self.x_L, self.x_U)
            return
        centre, radius = self._centred(plain)
        G, h = self._scaled(plain, centre, radius)
        nothing = torch.zeros(1, *radius.shape, dtype=x.dtype, device=x.device)
        proven = bound(nothing, G, h, contradiction(G, h, self.iterations))
        if bool((proven > ULPS * torch.finfo(x.dtype).eps).any()):
            raise PerturbationError("A z ≤ b is infeasible: no point of the box [x_L, x_U] satisfies it")
        example, row = (int(i) for i in (excess > 0).nonzero()[0])
        raise PerturbationError(
            f"the nominal value violates A z ≤ b: constraint {row}, example {example}, by "
            f"{excess[example, row].item():.3g}"
        )

    def aligned(self, batch_dim: int | None, ndim: int) -> PerturbationLinearConstraints:
        x_L, x_U = (align(limit, batch_dim, ndim) for limit in (self.x_L, self.x_U))
        rest = self.A.shape[1:]
        if len(rest) > ndim:
            return self  # `validate` refuses it
        A = self.A.reshape(-1, *[1] * (ndim - len(rest)), *rest)
        A = A.unsqueeze(1) if batch_dim is None else A.movedim(batch_dim + 1, 1)
        return replace(self, A=A, x_L=x_L, x_U=x_U)

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> PerturbationLinearConstraints:
        x_L, x_U = (function(v) if isinstance(v, Tensor) else v for v in (self.x_L, self.x_U))
        return replace(self, A=function(self.A), b=function(self.b), x_L=x_L, x_U=x_U)

    def hull(self, x: Tensor) -> Interval:
        """A box around the set, `[B, *S]`: the limits, tightened by each constraint in turn.

        Not always the smallest: that would take a linear programme for each end.
        """
        lower, upper = (end.expand_as(x).flatten(1) for end in walls(x, self.x_L, self.x_U))
        rows, b, point = self._rows(x), self._sides(x), x.flatten(1)
        for _ in range(_TIGHTENINGS):
            lower, upper = _tightened(rows, b, lower, upper, point)
        return Interval(lower.reshape(x.shape), upper.reshape(x.shape))

    def concretize(self, x: Tensor, A: Coefficients) -> Tensor:
        hull = self.hull(x)
        over_hull = A.split_dot(hull.lower, hull.upper)
        a = A.to_dense().flatten(2)
        centre, radius = self._centred(x)
        G, h = self._scaled(x, centre, radius)
        nominal = torch.einsum("rbn,bn->rb", a.expand(-1, max(a.shape[1], centre.shape[0]), -1), centre)
        over_set = nominal + least(a * radius, G, h, self.iterations)
        return torch.where(over_hull > over_set, over_hull, over_set)

    def sample(self, x: Tensor, n: int, generator: torch.Generator | None = None) -> Tensor:
        with torch.no_grad():
            lower, upper = (end.expand_as(x) for end in walls(x, self.x_L, self.x_U))
            z = random_in(lower, upper, n, generator)
            far = torch.arange(n, device=x.device).reshape(-1, *[1] * x.dim()) % 2 == 0
            return self._pulled_in(x, torch.where(far, self.project(x, x + 3 * (z - x)), z))

    def contains(self, x: Tensor, z: Tensor) -> Tensor:
        """Which candidates belong to the set: `[n, B]` for `z` of `[n, B, *S]`.

        The allowance is 32 units in the last place of the magnitudes that each comparison adds up.
        """
        lower, upper = walls(x, self.x_L, self.x_U)
        allowed = slack(z, *torch.broadcast_tensors(lower, upper))
        inside = ((z >= lower - allowed) & (z <= upper + allowed)).flatten(2).all(-1)
        return inside & (self._excess(x, z) <= 0).all(-1)

    def project(self, x: Tensor, z: Tensor) -> Tensor:
        """Move candidates into the set, to the nearest point up to rounding.

        What rounding leaves of a violation is taken off by a move towards the nominal value.
        """
        lower, upper = (end.expand_as(x).flatten(1) for end in walls(x, self.x_L, self.x_U))
        point = nearest(z.flatten(2), self._rows(x), self._sides(x), lower, upper)
        moved = self._pulled_in(x, point.reshape(z.shape))
        keep = self.contains(x, z).reshape(*z.shape[:2], *[1] * (x.dim() - 1))
        return torch.where(keep, z, moved)

    def _pulled_in(self, x: Tensor, z: Tensor) -> Tensor:
        """Points of the box, moved towards the nominal value as far as the constraints ask."""
        rows, room = self._rows(x), self._sides(x) - torch.einsum("bmi,bi->bm", self._rows(x), x.flatten(1))
        rise = torch.einsum("bmi,nbi->nbm", rows, (z - x).flatten(2))
        rise = torch.where(self._excess(x, z) > 0, rise, 0)  # rounding alone does not pull
        room = room.clamp(min=0)
        part = torch.where(rise > room, room / torch.where(rise > room, rise, 1), 1).amin(-1)
        return x + part.reshape(*part.shape, *[1] * (x.dim() - 1)) * (z - x)

    def _excess(self, x: Tensor, z: Tensor) -> Tensor:
        """By how much `z` violates each constraint, less an allowance for rounding: `[n, B, m]`."""
        rows, b, flat = self._rows(x), self._sides(x), z.flatten(2)
        value = torch.einsum("bmi,nbi->nbm", rows, flat) - b
        size = torch.einsum("bmi,nbi->nbm", rows.abs(), flat.abs().maximum(x.flatten(1).abs())) + b.abs()
        return value - ULPS * torch.finfo(x.dtype).eps * size

    def _rows(self, x: Tensor) -> Tensor:
        """`[B, m, n]`."""
        rest = self.A.shape[1:]
        A = self.A.to(x).reshape(-1, *[1] * (x.dim() - len(rest)), *rest)
        return A.expand(-1, max(x.shape[0], A.shape[1]), *x.shape[1:]).movedim(1, 0).flatten(2)

    def _sides(self, x: Tensor) -> Tensor:
        """`[B, m]`, or `[1, m]` where shared."""
        return self.b.to(x).reshape(self.b.shape[0], -1).T

    def _centred(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Centre and half width of the box, `[B, n]`."""
        lower, upper = (end.expand_as(x).flatten(1) for end in walls(x, self.x_L, self.x_U))
        return lower / 2 + upper / 2, upper / 2 - lower / 2

    def _scaled(self, x: Tensor, centre: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        """The constraints where the box is `[-1, 1]^n`: `[B, m, n]` and `[B, m]`."""
        rows = self._rows(x)
        return rows * radius.unsqueeze(1), self._sides(x) - torch.einsum("bmi,bi->bm", rows, centre)

    def __repr__(self) -> str:
        box = f"x_L={show(self.x_L)}, x_U={show(self.x_U)}"
        return f"PerturbationLinearConstraints({self.A.shape[0]} constraints, {box})"


def _tightened(rows: Tensor, b: Tensor, lower: Tensor, upper: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Limits that each constraint implies, given the others' limits; they always include `x`.

    An implied limit carries no gradient: it may come from a division by a tiny coefficient.
    """
    with torch.no_grad():
        least = torch.where(rows > 0, rows * lower.unsqueeze(1), rows * upper.unsqueeze(1))  # [B, m, n]
        total = least.sum(-1, keepdim=True)
        error = ULPS * torch.finfo(x.dtype).eps * (least.abs().sum(-1, keepdim=True) + b.abs().unsqueeze(-1))
        room = b.unsqueeze(-1) - total + least + error
        limit = room / torch.where(rows != 0, rows, 1)
        high = torch.where(rows > 0, limit, torch.inf).amin(1).maximum(x)
        low = torch.where(rows < 0, limit, -torch.inf).amax(1).minimum(x)
    return torch.where(low > lower, low, lower), torch.where(high < upper, high, upper)
