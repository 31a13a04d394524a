"""Inputs that are an affine function of a few perturbed parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lirpa_core import Interval, Perturbation
from lirpa_core.errors import PerturbationError
from lirpa_core.linear.coefficients import Coefficients, DenseCoefficients
from lirpa_core.perturbations import require_real_finite
from lirpa_perturbations.box import ULPS

_ITERATIONS = 300


@dataclass(frozen=True, eq=False, repr=False)
class PerturbationAffine(Perturbation):
    """All `x + Σ_p (w_p - centre_p) basis_p` for parameters `w` in a set of their own.

    A model under, say, a change of brightness has thousands of perturbed pixels and one perturbed
    parameter: bounds that know it are those of a one-dimensional set. They are exact wherever those of
    `base` are, because a linear form over the input is one over the parameters.

    Attributes:
        base: The set of the parameters, whose nominal value is `[B, P]`.
        basis: What each parameter adds: `[P, ...]`, where the rest broadcasts to the perturbed tensor.
        centre: Nominal parameters `[P]` or `[B, P]`; None: zeros.

    Raises:
        PerturbationError: Naming the argument that does not fit.
    """

    base: Perturbation
    basis: Tensor
    centre: Tensor | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.base, Perturbation):
            raise PerturbationError(f"base must be a Perturbation, not {type(self.base).__name__}")
        if not isinstance(self.basis, Tensor) or self.basis.dim() == 0 or self.basis.shape[0] == 0:
            raise PerturbationError("basis must be a tensor [P, ...] with at least one parameter")
        require_real_finite(self.basis, "basis")
        if self.centre is not None:
            parameters = self.basis.shape[0]
            if self.centre.dim() not in (1, 2) or self.centre.shape[-1] != parameters:
                raise PerturbationError(
                    f"centre has shape {list(self.centre.shape)}, but basis has {parameters} parameters"
                )
            require_real_finite(self.centre, "centre")

    @property
    def is_box(self) -> bool:
        return False

    def validate(self, x: Tensor) -> None:
        require_real_finite(x)
        rest = self.basis.shape[1:]
        pairs = zip(reversed(rest), reversed(x.shape), strict=False)
        if len(rest) > x.dim() or any(have not in (1, want) for have, want in pairs):
            raise PerturbationError(
                f"basis has shape {list(self.basis.shape)}; behind its first dimension it must broadcast to the "
                f"perturbed tensor's {list(x.shape)} (examples first)"
            )
        if self.centre is not None and self.centre.dim() == 2 and self.centre.shape[0] not in (1, x.shape[0]):
            raise PerturbationError(f"centre has {self.centre.shape[0]} rows for {x.shape[0]} examples")
        try:
            self.base.validate(self._centre(x))
        except PerturbationError as error:
            raise PerturbationError(f"base: {error}") from error

    def aligned(self, batch_dim: int | None, ndim: int) -> PerturbationAffine:
        rest = self.basis.shape[1:]
        if len(rest) > ndim:
            return self  # `validate` refuses it
        basis = self.basis.reshape(-1, *[1] * (ndim - len(rest)), *rest)
        basis = basis.unsqueeze(1) if batch_dim is None else basis.movedim(batch_dim + 1, 1)
        return replace(self, basis=basis, base=self.base.aligned(0, 2))

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> PerturbationAffine:
        centre = None if self.centre is None else function(self.centre)
        return PerturbationAffine(self.base.map_tensors(function), function(self.basis), centre)

    def hull(self, x: Tensor) -> Interval:
        directions = self._directions(x)  # [B, P, n]
        rows = directions.movedim(2, 0)  # [n, B, P]: one form over the parameters for each element
        lower, upper = self._change(x, rows).T, -self._change(x, -rows).T  # [B, n]
        lower, upper = (end.reshape(end.shape[0], *x.shape[1:]) for end in (lower, upper))
        return Interval(x + lower, x + upper)

    def concretize(self, x: Tensor, A: Coefficients) -> Tensor:
        rows = torch.einsum("rbn,bpn->rbp", A.to_dense().flatten(2), self._directions(x))
        return A.dot(x) + self._change(x, rows)

    def sample(self, x: Tensor, n: int, generator: torch.Generator | None = None) -> Tensor:
        with torch.no_grad():
            return self._apply(x, self.base.sample(self._centre(x), n, generator))

    def contains(self, x: Tensor, z: Tensor) -> Tensor:
        """Which candidates belong to the set: `[n, B]` for `z` of `[n, B, *S]`.

        The nearest member must be nearer than the square root of the spacing of floats, relative to the
        sizes of `x`, `z` and the set: it is found by least squares and iteration. Where the basis is
        linearly dependent, that may miss members at the edge of the set; bounds do not depend on it.
        """
        with torch.no_grad():
            hull = self.hull(x)
            distance = (self.project(x, z) - z).abs().flatten(2).amax(-1)
            size = (x.abs() + z.abs() + hull.width).flatten(2).amax(-1)
            near: Tensor = distance <= torch.finfo(x.dtype).eps ** 0.5 * size
            return near

    def project(self, x: Tensor, z: Tensor) -> Tensor:
        """Move candidates into the set: the nearest point where `base` is convex, up to iteration.

        Least squares give the parameters; where they are outside of `base`, or there are several, the
        accelerated projected gradient of Beck and Teboulle (2009, FISTA), restarted wherever it goes uphill
        (O'Donoghue and Candès 2015), finds the nearest ones.
        """
        centre, directions = self._centre(x), self._directions(x)
        difference = (z - x).flatten(2)
        gram = torch.einsum("bpm,bqm->bpq", directions, directions)
        target = torch.einsum("nbm,bpm->nbp", difference, directions)
        start = torch.einsum("bpm,nbm->nbp", torch.linalg.pinv(directions.mT), difference) + centre
        curvature = torch.linalg.eigvalsh(gram)[..., -1:]  # [B, 1]
        step = torch.where(curvature > 0, 1 / torch.where(curvature > 0, curvature, 1), 0)
        w = self.base.project(centre, start)
        size, tolerance = self.base.hull(centre).width, 8 * torch.finfo(w.dtype).eps
        found, todo = w.clone(), torch.arange(len(w), device=w.device)  # those that still move
        ahead, momentum = w, torch.ones_like(w[..., :1])
        for _ in range(_ITERATIONS):
            slope = torch.einsum("bpq,nbq->nbp", gram, ahead - centre) - target[todo]
            new = self.base.project(centre, ahead - step * slope)
            moved = new - w
            uphill = ((ahead - new) * moved).sum(-1, keepdim=True) > 0
            following = (1 + (1 + 4 * momentum**2).sqrt()) / 2
            ahead = new + torch.where(uphill, 0, (momentum - 1) / following) * moved
            momentum = torch.where(uphill, 1, following)
            found[todo] = new
            moves = (moved.abs() > tolerance * (new.abs() + size)).flatten(1).any(1)
            if not bool(moves.any()):
                break
            todo, w, ahead, momentum = (t[moves] for t in (todo, new, ahead, momentum))
        return self._apply(x, found)

    def _change(self, x: Tensor, rows: Tensor) -> Tensor:
        """Minimum of `Σ rows · (w - centre)`: `[R, B]` for `[R, B, P]`; not above it for any rounding of the sums.

        What is left of two sums, or of a sum and `x`, may be far smaller than what rounding does to the sums.
        """
        centre, form = self._centre(x), DenseCoefficients(rows)
        with torch.no_grad():
            box = self.base.hull(centre)
            size = centre.abs() + (box.lower - centre).abs().maximum((box.upper - centre).abs())
            roundings = (rows.shape[-1] + ULPS) * torch.finfo(x.dtype).eps
            off = roundings * DenseCoefficients(rows.abs()).dot(size)
        return self.base.concretize(centre, form) - form.dot(centre) - off

    def _apply(self, x: Tensor, w: Tensor) -> Tensor:
        change = torch.einsum("nbp,bpm->nbm", w - self._centre(x), self._directions(x))
        return x + change.reshape(*change.shape[:2], *x.shape[1:])

    def _directions(self, x: Tensor) -> Tensor:
        """`[B, P, n]`."""
        rest = self.basis.shape[1:]
        basis = self.basis.to(x).reshape(-1, *[1] * (x.dim() - len(rest)), *rest)
        batch = max(x.shape[0], basis.shape[1])
        return basis.expand(-1, batch, *x.shape[1:]).movedim(1, 0).flatten(2)

    def _centre(self, x: Tensor) -> Tensor:
        """`[B, P]`."""
        if self.centre is None:
            return x.new_zeros(x.shape[0], self.basis.shape[0])
        centre = self.centre.to(x)
        return centre.expand(max(x.shape[0], centre.shape[0] if centre.dim() == 2 else 1), -1)

    def __repr__(self) -> str:
        return f"PerturbationAffine({self.base!r}, basis={list(self.basis.shape)})"
