"""Lp balls, boxes, and their intersections."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import InitVar, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lirpa_core.errors import PerturbationError
from lirpa_core.linear.coefficients import Coefficients
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.norms import scaled_norm
from lirpa_core.perturbations import ball_box
from lirpa_core.perturbations.arguments import (
    Limit,
    broadcasts,
    parse_exponent,
    parse_limit,
    require_ordered,
    show,
)
from lirpa_core.perturbations.ball_box_projection import nearest
from lirpa_core.perturbations.base import Perturbation, examples_first, require_real_finite

_FIELDS = frozenset({"eps", "norm", "x_L", "x_U"})

#: Allowance of `contains`, and for a centre outside its box, in units of the spacing of floats.
_ULPS = 32


@dataclass(eq=False, repr=False)
class PerturbationLpNorm(Perturbation):
    """All values within `eps` of the nominal one in the Lp norm, and inside a box where one is given.

    With `eps` and a box the set is the *intersection* of the ball and the box, for every norm, and
    bounds use it exactly. A box without `eps` is itself the set, whatever the norm; the nominal value
    then only serves the ordinary forward pass. With `eps`, the nominal value must lie in the box
    (rounding aside), one side of the box may be left out, and its elements may be infinite.

    An attribute may be assigned, so that a radius can grow: `ptb.eps = 0.2`, or `ptb.set_eps(0.2)`. It is checked
    together with the others as when the set was made, and if it does not fit them the set stays as it was.

    Attributes:
        eps: Radius. A number; a tensor with one element an example, `[B]`; for the L-infinity norm also
            one element an entry, broadcastable to the perturbed tensor (at least two dimensions, so that
            it is not taken for one an example: write `[1, n]` to share `[n]` between examples).
        norm: The exponent p: 1, 2, infinity, or any other real number of at least one.
        x_L: Lower limits: a number or a tensor broadcastable to the perturbed one.
        x_U: Upper limits.
        constraints: Refused, with the name of the set that has linear constraints.

    Raises:
        PerturbationError: Naming the argument: `eps` negative, not finite or missing together with the
            box, `norm` below one, `x_L` above `x_U`, NaN anywhere.
    """

    eps: Limit | None = None
    norm: float = math.inf
    x_L: Limit | None = None
    x_U: Limit | None = None
    constraints: InitVar[object] = None

    def __post_init__(self, constraints: object) -> None:
        if constraints is not None:
            raise PerturbationError(
                "constraints=(A, b) are a set of their own, because a sign that is read the other way would make it "
                "smaller: lirpa_perturbations.PerturbationLinearConstraints(A, b, x_L, x_U), all z of a box with A z ≤ b"
            )
        object.__setattr__(self, "norm", parse_exponent(self.norm))
        for name in ("eps", "x_L", "x_U"):
            object.__setattr__(self, name, parse_limit(name, getattr(self, name)))
        if self.eps is None and (self.x_L is None or self.x_U is None):
            raise PerturbationError(
                "give eps, or both x_L and x_U, or eps together with a box. There is no default radius, lest a "
                "forgotten one pass for a certificate: write eps=0 for a set of one point, to grow by set_eps(...)"
            )
        if self.eps is not None:
            eps = self.eps.detach() if isinstance(self.eps, Tensor) else torch.tensor(self.eps)
            if not bool(((eps >= 0) & (eps < math.inf)).all()):
                raise PerturbationError(f"eps must be finite and not negative, but is {show(self.eps)}")
        for name, open_end in (("x_L", -math.inf), ("x_U", math.inf)):
            limit = getattr(self, name)
            if limit is None:
                continue
            tensor = torch.as_tensor(limit).detach()
            fine = tensor.isfinite() if self.eps is None else tensor.isfinite() | (tensor == open_end)
            if not bool(fine.all()):
                raise PerturbationError(f"{name} must be finite, but is {show(limit)}")
        if self.x_L is not None and self.x_U is not None:
            require_ordered(torch.as_tensor(self.x_L).detach(), torch.as_tensor(self.x_U).detach())

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FIELDS and self.__dict__.keys() >= _FIELDS:
            value = getattr(replace(self, **{name: value}), name)  # checks all of them together
        object.__setattr__(self, name, value)

    def set_eps(self, eps: Limit) -> None:
        """Exchange the radius.

        Raises:
            PerturbationError: If it is negative or not finite.
        """
        self.eps = eps

    @property
    def is_box(self) -> bool:
        return self.norm == math.inf or self.eps is None

    @property
    def surrounds_nominal(self) -> bool:
        return self.eps is not None and not self._has_walls

    @property
    def _has_walls(self) -> bool:
        return self.x_L is not None or self.x_U is not None

    def validate(self, x: Tensor) -> None:
        require_real_finite(x)
        if isinstance(self.eps, Tensor):
            self._validate_eps(self.eps, x)
        for name, limit in (("x_L", self.x_L), ("x_U", self.x_U)):
            if isinstance(limit, Tensor) and not broadcasts(limit, x):
                raise PerturbationError(
                    f"{name} has shape {list(limit.shape)}, which does not broadcast to the perturbed "
                    f"tensor's {list(x.shape)} (examples first)"
                )
        if self.eps is None or not self._has_walls:
            return
        centre = x.detach()
        for name, limit, side in (("x_L", self.x_L, 1), ("x_U", self.x_U, -1)):
            if limit is None:
                continue
            wall = _like(limit, centre).detach()
            slack = _ULPS * torch.finfo(x.dtype).eps * centre.abs()
            outside = side * (wall - centre) > slack
            if bool(outside.any()):
                value, at = centre[outside][0].item(), wall.expand_as(centre)[outside][0].item()
                raise PerturbationError(
                    f"the nominal value lies outside the box at {int(outside.sum())} elements: the first is "
                    f"{value:.9g} with {name} = {at:.9g}; clamp it, or widen the box"
                )

    def _validate_eps(self, eps: Tensor, x: Tensor) -> None:
        per_example = eps.dim() == 0 or (
            eps.shape[0] in (1, x.shape[0]) and (eps.dim() == 1 or eps.numel() == eps.shape[0])
        )
        each = f"a number or [{x.shape[0]}] (one an example)"
        if x.shape[0] == 1:  # one example, or what all examples share
            each = "one number (a weight, say, has one set, which all examples share)"
        if self.norm == math.inf:
            if per_example or (eps.dim() > 1 and broadcasts(eps, x)):
                return
            wanted = f"be {each}, or broadcast to {list(x.shape)}"
        else:
            if per_example and eps.dim() <= x.dim():
                return
            wanted = f"be {each} for the L{self.norm:g} norm"
        # One an example was given as [n], and stands here as [n, 1, 1].
        given = [eps.shape[0]] if eps.numel() == eps.shape[0] else list(eps.shape)
        raise PerturbationError(f"eps has shape {given}, but must {wanted}")

    def aligned(self, batch_dim: int | None, ndim: int) -> PerturbationLpNorm:
        if not (isinstance(self.eps, Tensor) or isinstance(self.x_L, Tensor) or isinstance(self.x_U, Tensor)):
            return self

        def move(value: Limit | None) -> Limit | None:
            return examples_first(value, batch_dim, ndim) if isinstance(value, Tensor) else value

        eps = self.eps
        if isinstance(eps, Tensor) and eps.dim() == 1 and batch_dim is not None:
            eps = eps.reshape(-1, *[1] * (ndim - 1))
        else:
            eps = move(eps)
        return replace(self, eps=eps, x_L=move(self.x_L), x_U=move(self.x_U))

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> PerturbationLpNorm:
        eps, x_L, x_U = (
            function(value) if isinstance(value, Tensor) else value
            for value in (self.eps, self.x_L, self.x_U)
        )
        return replace(self, eps=eps, x_L=x_L, x_U=x_U)

    def hull(self, x: Tensor) -> Interval:
        if self.eps is None:
            assert self.x_L is not None
            assert self.x_U is not None
            return Interval(_like(self.x_L, x).expand_as(x), _like(self.x_U, x).expand_as(x))
        eps = self._radius(x)
        lower, upper = x - eps, x + eps
        if not self._has_walls:
            return Interval(lower, upper, known_midpoint_radius=(x, _spread(eps, x)))
        if self.x_L is not None:  # widened to hold the centre, which rounding may have put outside
            wall = _like(self.x_L, x)
            lower = lower.maximum(torch.where(x < wall, x, wall))
        if self.x_U is not None:
            wall = _like(self.x_U, x)
            upper = upper.minimum(torch.where(x > wall, x, wall))
        return Interval(lower, upper)

    def concretize(self, x: Tensor, A: Coefficients) -> Tensor:
        if self.is_box and self.eps is not None and not self._has_walls:
            return A.dot(x) - A.dual_norm(1, _spread(self._radius(x), x))
        if self.is_box:
            hull = self.hull(x)
            return A.split_dot(hull.lower, hull.upper)
        eps = self._radii(x)
        if not self._has_walls:
            return A.dot(x) - eps.squeeze(1) * A.dual_norm(ball_box.dual_exponent(self.norm))
        down, up = self._reach(x)
        a = A.to_dense().reshape(A.rows, A.batch, -1)
        return A.dot(x) + ball_box.minimum(a, down, up, eps, self.norm)

    def deviation(self, x: Tensor, A: Coefficients) -> Tensor | None:
        """See `Perturbation.deviation`: `eps ‖A‖`, in the dual norm; limits are left out."""
        if self.is_box:
            return None
        return self._radii(x).squeeze(1) * A.dual_norm(ball_box.dual_exponent(self.norm))

    def sample(self, x: Tensor, n: int, generator: torch.Generator | None = None) -> Tensor:
        with torch.no_grad():
            hull = self.hull(x)
            shape = (n, *x.shape)
            if self.is_box:
                t = torch.rand(shape, dtype=x.dtype, device=x.device, generator=generator)
                snap = torch.arange(n, device=x.device).reshape(-1, *[1] * x.dim()) % 3
                t = torch.where(snap == 0, t, torch.where(snap == 1, t.round(), (2 * t - 0.5).clamp(0, 1)))
                z = hull.lower * (1 - t) + hull.upper * t
                return z.maximum(hull.lower).minimum(hull.upper)
            z = x + self._random_displacements(x, n, generator)
            return self.project(x, z) if self._has_walls else z

    def _random_displacements(self, x: Tensor, n: int, generator: torch.Generator | None) -> Tensor:
        """Displacements in the ball, or beyond it where `project` follows: `[n, B, *S]`."""
        g = torch.randn(n, x.shape[0], x[0].numel(), dtype=x.dtype, device=x.device, generator=generator)
        scale = torch.rand(n, x.shape[0], 1, dtype=x.dtype, device=x.device, generator=generator)
        kind = torch.arange(n, device=x.device).reshape(-1, 1, 1) % 4
        tip = torch.zeros_like(g).scatter(-1, g.abs().argmax(-1, keepdim=True), 1.0)
        q = ball_box.dual_exponent(self.norm)
        extreme = tip if q == math.inf else (g.abs() / g.abs().amax(-1, keepdim=True)).pow(q - 1)
        direction = torch.where(kind <= 1, g, torch.where(kind == 2, tip, extreme) * g.sign())
        d = direction / scaled_norm(direction, self.norm).unsqueeze(-1)
        d = torch.where(kind == 0, d * scale, d * (1 + 9 * scale) if self._has_walls else d)
        return d.reshape(n, *x.shape) * self._radius(x)

    def contains(self, x: Tensor, z: Tensor) -> Tensor:
        """Which candidates belong to the set: `[n, B]` for `z` of `[n, B, *S]`.

        The allowance for rounding is 32 units in the last place: of the larger of `|x|`, `|z|` and the
        radius for each element against the box, and of `eps` plus the norm of the larger of `|x|` and
        `|z|` against the ball.
        """
        hull = self.hull(x)
        unit = _ULPS * torch.finfo(x.dtype).eps
        magnitude = x.abs().maximum(z.abs())
        slack = unit * magnitude.maximum(hull.lower.abs()).maximum(hull.upper.abs())
        inside = ((z >= hull.lower - slack) & (z <= hull.upper + slack)).reshape(*z.shape[:2], -1).all(-1)
        if self.is_box:
            return inside
        eps = self._radii(x).squeeze(1)
        distance = scaled_norm((z - x).reshape(*z.shape[:2], -1), self.norm)
        allowance = unit * (eps + scaled_norm(magnitude.reshape(*z.shape[:2], -1), self.norm))
        return inside & (distance <= eps + allowance)

    def project(self, x: Tensor, z: Tensor) -> Tensor:
        hull = self.hull(x)
        if self.is_box:
            return z.maximum(hull.lower).minimum(hull.upper)
        down, up = self._reach(x)
        d = nearest((z - x).reshape(*z.shape[:2], -1), down, up, self._radii(x), self.norm)
        return (x + d.reshape(z.shape)).maximum(hull.lower).minimum(hull.upper)

    def _radius(self, x: Tensor) -> Tensor:
        """`eps`, broadcastable to `x`, with the rank of `x`."""
        assert self.eps is not None
        if not isinstance(self.eps, Tensor):  # a copy of a number to a device would wait for it
            return x.new_full([1] * x.dim(), self.eps)
        eps = self.eps.to(dtype=x.dtype, device=x.device)
        if eps.dim() == 0:
            return eps.reshape([1] * x.dim())
        if eps.dim() == 1:
            return eps.reshape(-1, *[1] * (x.dim() - 1))
        return eps.reshape(*[1] * (x.dim() - eps.dim()), *eps.shape)

    def _radii(self, x: Tensor) -> Tensor:
        """`eps` of a norm other than L-infinity: `[B, 1]`, or `[1, 1]` where shared."""
        radius = self._radius(x)
        return radius.reshape(radius.shape[0], 1)

    def _reach(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """How far each element can move down and up: two of `[B, n]`, not negative."""
        hull = self.hull(x)
        down, up = (x - hull.lower).clamp(min=0), (hull.upper - x).clamp(min=0)
        return down.reshape(x.shape[0], -1), up.reshape(x.shape[0], -1)

    def __repr__(self) -> str:
        parts = [f"norm={self.norm:g}"]
        parts += [f"{n}={show(v)}" for n in ("eps", "x_L", "x_U") if (v := getattr(self, n)) is not None]
        return f"PerturbationLpNorm({', '.join(parts)})"


def _spread(radius: Tensor, x: Tensor) -> Tensor:
    """A radius with the rank of `x`, at its shape but for a leading one where the examples share it."""
    return radius.expand(radius.shape[0], *x.shape[1:])


def _like(limit: Limit, x: Tensor) -> Tensor:
    return torch.as_tensor(limit, dtype=x.dtype, device=x.device)
