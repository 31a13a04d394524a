"""Ellipsoids: values within a Mahalanobis distance of the nominal one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lirpa_core import Interval, Perturbation
from lirpa_core.errors import PerturbationError
from lirpa_core.linear import scaled_norm
from lirpa_core.linear.coefficients import Coefficients
from lirpa_core.perturbations import parse_limit, require_real_finite, show
from lirpa_perturbations.box import ULPS, like

#: Most steps for the multiplier of a projection; each about doubles its digits.
_STEPS = 50


@dataclass(frozen=True, eq=False, repr=False)
class PerturbationEllipsoid(Perturbation):
    """All `z` with `(z - x)ᵀ Σ⁻¹ (z - x) ≤ eps²`, for a covariance `Σ` over the flattened example.

    Bounds are exact: the minimum of `A·z` is `A·x - eps √(A Σ Aᵀ)`, the support function of an ellipsoid
    (Boyd and Vandenberghe 2004, "Convex Optimization", sec. 2.2.2). For a covariance that is singular,
    use `PerturbationAffine` on an L2 ball.

    Attributes:
        covariance: Symmetric and positive definite, `[n, n]`, or one an example, `[B, n, n]`.
        eps: Mahalanobis radius: a number, or one an example, `[B]`.

    Raises:
        PerturbationError: Naming the argument: `eps` negative, `covariance` not symmetric, not positive
            definite or of another size than the example.
    """

    covariance: Tensor
    eps: Any = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "eps", parse_limit("eps", self.eps))
        self._check_eps()
        given = self.covariance
        if not isinstance(given, Tensor) or given.dim() not in (2, 3) or given.shape[-1] != given.shape[-2]:
            shown = list(given.shape) if isinstance(given, Tensor) else repr(given)
            raise PerturbationError(f"covariance must be a tensor [n, n] or [B, n, n], not {shown}")
        require_real_finite(given, "covariance")

    def _check_eps(self) -> None:
        radius = None if self.eps is None else torch.as_tensor(self.eps).detach()
        if radius is None or radius.dim() > 1 or not bool((radius >= 0).all() & radius.isfinite().all()):
            raise PerturbationError(f"eps must be finite, not negative, a number or [B], but is {self.eps!r}")

    @property
    def is_box(self) -> bool:
        return False

    def validate(self, x: Tensor) -> None:
        self._check_eps()  # a tensor may have changed in place
        require_real_finite(x)
        n = x[0].numel()
        matrix = self.covariance.detach()
        if matrix.shape[-1] != n or (matrix.dim() == 3 and matrix.shape[0] not in (1, x.shape[0])):
            raise PerturbationError(
                f"covariance has shape {list(matrix.shape)}, but {x.shape[0]} examples have {n} elements each"
            )
        if isinstance(self.eps, Tensor) and self.eps.numel() not in (1, x.shape[0]):
            raise PerturbationError(f"eps has {self.eps.numel()} elements for {x.shape[0]} examples")
        tolerance = 1e3 * torch.finfo(matrix.dtype).eps * matrix.abs().amax()
        if bool(((matrix - matrix.mT).abs() > tolerance).any()):
            raise PerturbationError("covariance must be symmetric")
        if bool(torch.linalg.cholesky_ex(_symmetric(matrix.to(x)))[1].any()):
            raise PerturbationError(
                "covariance must be positive definite; for a singular one use PerturbationAffine on an L2 ball"
            )

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> PerturbationEllipsoid:
        eps = function(self.eps) if isinstance(self.eps, Tensor) else self.eps
        return replace(self, covariance=function(self.covariance), eps=eps)

    def hull(self, x: Tensor) -> Interval:
        radius = scaled_norm(self._factor(x), 2)  # [B, n]: √Σ_ii
        roundings = (radius.shape[-1] + 4) * torch.finfo(x.dtype).eps
        reach = (self._radius(x) * radius * (1 + roundings)).reshape(-1, *x.shape[1:])
        return Interval(x - reach, x + reach)

    def concretize(self, x: Tensor, A: Coefficients) -> Tensor:
        """See `Perturbation.concretize`.

        The factor is that of a covariance that is off by rounding (Higham 2002, *Accuracy and Stability*, theorem 10.3): by
        `γ σᵢσⱼ`, so that the square of a spread is by `γ (Σ|aᵢ|σᵢ)²`. Of a direction in which the ellipsoid is flat that is nearly all.
        """
        rows = A.to_dense().flatten(2).movedim(1, 0)  # [B, R, n]
        factor = self._factor(x)
        spread = scaled_norm(rows @ factor, 2)  # [B, R]
        with torch.no_grad():
            # Half a unit in the last place each: of the factor, of the product twice, since it is squared, and of its norm.
            roundings = (5 * rows.shape[-1] + 8) * torch.finfo(x.dtype).eps / 2
            off = math.sqrt(roundings) * (rows.abs() @ scaled_norm(factor, 2).unsqueeze(-1)).squeeze(-1)
            more = torch.hypot(spread, off) - spread
        return A.dot(x) - self._radius(x).T * (spread + more).T

    def sample(self, x: Tensor, n: int, generator: torch.Generator | None = None) -> Tensor:
        with torch.no_grad():
            shape = (n, x.shape[0], x[0].numel())
            u = torch.randn(shape, dtype=x.dtype, device=x.device, generator=generator)
            t = torch.rand((n, x.shape[0], 1), dtype=x.dtype, device=x.device, generator=generator)
            surface = torch.arange(n, device=x.device).reshape(-1, 1, 1) % 2 == 0
            u = u / scaled_norm(u, 2).unsqueeze(-1) * torch.where(surface, 1, t) * self._radius(x)
            return x + torch.einsum("bij,nbj->nbi", self._factor(x), u).reshape(n, *x.shape)

    def contains(self, x: Tensor, z: Tensor) -> Tensor:
        """Which candidates belong to the set: `[n, B]` for `z` of `[n, B, *S]`.

        The allowance is what 32 units in the last place of each element come to as a distance.
        """
        factor = self._factor(x)
        distance = scaled_norm(self._whiten(factor, (z - x).flatten(2)), 2)
        unit = ULPS * torch.finfo(x.dtype).eps
        size = scaled_norm(x.abs().maximum(z.abs()).flatten(2), 2)
        inverse = torch.linalg.solve_triangular(factor, torch.eye(factor.shape[-1]).to(factor), upper=False)
        stretch = torch.linalg.matrix_norm(inverse)  # [B], at least the largest 1/√eigenvalue
        condition = stretch * torch.linalg.matrix_norm(factor)
        radius = self._radius(x).squeeze(-1)
        inside: Tensor = distance <= radius * (1 + unit * condition) + unit * size * stretch
        return inside

    def project(self, x: Tensor, z: Tensor) -> Tensor:
        """Move candidates into the set, to the nearest point.

        Its multiplier follows from Newton's method on the inverse of the distance, which is convex and so
        never goes too far (Moré and Sorensen 1983, "Computing a trust region step").
        """
        values, vectors = torch.linalg.eigh(self._matrix(x))  # [B, n], [B, n, n]
        v = torch.einsum("bji,nbj->nbi", vectors, (z - x).flatten(2))
        radius = self._radius(x)  # [B, 1]
        positive = values.clamp(min=torch.finfo(values.dtype).tiny)
        inside = scaled_norm(v / positive.sqrt(), 2).unsqueeze(-1) <= radius
        m = torch.zeros_like(v[..., :1])
        for _ in range(_STEPS):
            length = v * positive.sqrt() / (positive + m)  # in units of the half axes
            norm = scaled_norm(length, 2).unsqueeze(-1)
            unit = length / torch.where(norm > 0, norm, 1)
            slope = (unit * unit / (positive + m)).sum(-1, keepdim=True)
            step = torch.where(norm > radius, (norm - radius) / (radius * slope), 0)
            new = torch.where(inside | (radius <= 0), m, m + step)
            done = bool((new - m <= 4 * torch.finfo(m.dtype).eps * m).all())
            m = new
            if done:
                break
        nearest = v * (positive / (positive + m))
        norm = scaled_norm(nearest / positive.sqrt(), 2).unsqueeze(-1)
        nearest = nearest * torch.where(norm > radius, radius / torch.where(norm > 0, norm, 1), 1)
        back = torch.einsum("bij,nbj->nbi", vectors, nearest).reshape(z.shape)
        keep = inside.reshape(*inside.shape[:2], *[1] * (x.dim() - 1))
        return torch.where(keep, z, x + back)

    def _matrix(self, x: Tensor) -> Tensor:
        """`[B or 1, n, n]`."""
        matrix = self.covariance.to(x)
        return matrix if matrix.dim() == 3 else matrix.unsqueeze(0)

    def _factor(self, x: Tensor) -> Tensor:
        """Cholesky factor L of the covariance `L Lᵀ`, `[B or 1, n, n]`."""
        matrix = self._matrix(x)
        factor: Tensor = torch.linalg.cholesky(_symmetric(matrix))
        return factor.expand(max(x.shape[0], factor.shape[0]), -1, -1)

    def _radius(self, x: Tensor) -> Tensor:
        """`[B or 1, 1]`."""
        return like(self.eps, x).reshape(-1, 1)

    @staticmethod
    def _whiten(factor: Tensor, d: Tensor) -> Tensor:
        """`L⁻¹ d` for `d` of `[n, B, m]`."""
        columns: Tensor = torch.linalg.solve_triangular(factor, d.permute(1, 2, 0), upper=False)
        return columns.permute(2, 0, 1)

    def __repr__(self) -> str:
        return f"PerturbationEllipsoid(covariance={list(self.covariance.shape)}, eps={show(self.eps)})"


def _symmetric(matrix: Tensor) -> Tensor:
    """The mean of a nearly symmetric matrix and its transpose: a symmetric one as it is, whatever its scale."""
    return matrix + (matrix.mT - matrix) / 2
