"""Sets whose methods do not describe the same set."""

from __future__ import annotations

import math
from typing import Any

import torch
from honest import Pixels

from lirpa_core.linear.coefficients import SelectedRows
from lirpa_core.linear.interval import Interval
from lirpa_core.perturbations import PerturbationLpNorm


class WrongDualNorm(PerturbationLpNorm):
    def concretize(self, x, A):
        return A.dot(x) - self.eps * A.dual_norm(self.norm)


class ConstantRadius(PerturbationLpNorm):
    """Right, but the gradient takes what the radius takes off for a constant."""

    def concretize(self, x, A):
        return A.dot(x) - (self.eps * A.dual_norm(2)).detach()


class NominalForgotten(PerturbationLpNorm):
    def concretize(self, x, A):
        return super().concretize(x, A) - A.dot(x)


class BoxForgotten(PerturbationLpNorm):
    """Sound, but not the minimum over the intersection."""

    def concretize(self, x, A):
        return PerturbationLpNorm(self.eps, self.norm).concretize(x, A)


class SameRadiusForAll(PerturbationLpNorm):
    def concretize(self, x, A):
        return PerturbationLpNorm(self.eps.min().item(), self.norm).concretize(x, A)


class BoxInsteadOfBall(PerturbationLpNorm):
    """Sound, but the hull of the set."""

    def concretize(self, x, A):
        return A.split_dot(self.hull(x).lower, self.hull(x).upper)


class ClaimsToBeABox(PerturbationLpNorm):
    """Projects onto the box, minimises over the ball."""

    @property
    def is_box(self):
        return True

    def concretize(self, x, A):
        return PerturbationLpNorm(self.eps, self.norm).concretize(x, A)


class HullTooSmall(PerturbationLpNorm):
    def hull(self, x):
        right = super().hull(x)
        return Interval(right.lower + 0.1 * right.width, right.upper)


class SamplesOutside(PerturbationLpNorm):
    def sample(self, x, n, generator=None):
        return x + 1.5 * (super().sample(x, n, generator) - x)


class ContainsEverything(PerturbationLpNorm):
    def contains(self, x, z):
        return torch.ones(z.shape[:2], dtype=torch.bool)


class ProjectsHalfway(PerturbationLpNorm):
    def project(self, x, z):
        return x / 2 + super().project(x, z) / 2


class ProjectsToTheBox(PerturbationLpNorm):
    def project(self, x, z):
        hull = self.hull(x)
        return z.maximum(hull.lower).minimum(hull.upper)


class NanAtZeroRows(PerturbationLpNorm):
    def concretize(self, x, A):
        dense = A.to_dense()
        direction = dense / dense.flatten(2).norm(dim=-1).reshape(dense.shape[0], -1, *[1] * (x.dim() - 1))
        return A.dot(x) - self.eps * (direction * dense).flatten(2).sum(-1)


class NanGradientAtZeroRows(PerturbationLpNorm):
    def concretize(self, x, A):
        return A.dot(x) - self.eps * (A.to_dense() ** 2).flatten(2).sum(-1).sqrt()


class DenseOnly(PerturbationLpNorm):
    """Right for dense coefficients, forgets the scale of selected rows."""

    def concretize(self, x, A):
        if isinstance(A, SelectedRows):
            A = SelectedRows(A.index, torch.ones_like(A.values), A.size)
        return super().concretize(x, A)


class HullOfOneExample(PerturbationLpNorm):
    def hull(self, x):
        right = super().hull(x)
        return Interval(right.lower[:1], right.upper[:1])


class HullCrossed(PerturbationLpNorm):
    def hull(self, x):
        right = super().hull(x)
        return Interval(right.upper, right.lower)


class GeneratorIgnored(PerturbationLpNorm):
    def sample(self, x, n, generator=None):
        return super().sample(x, n)


class ProjectsInPlace(PerturbationLpNorm):
    def project(self, x, z):
        return z.copy_(super().project(x, z))


class SharedByAll(PerturbationLpNorm):
    """Uses the first example's coefficients only where these are shared by mistake."""

    def concretize(self, x, A):
        return (
            super().concretize(x, A) if A.batch > 1 else super().concretize(x[:1], A).expand(-1, x.shape[0])
        )


class AlwaysDouble64(PerturbationLpNorm):
    def concretize(self, x, A):
        return super().concretize(x, A).double()


class CountsScalars(Pixels):
    """Changes so many numbers, where it is pixels that may change."""

    def concretize(self, x, A):
        return A.dot(x) - self.gains(x, A).flatten(2).topk(self.eps).values.sum(-1)


class CountsOneMore(Pixels):
    """Sound, but for one pixel too many."""

    def concretize(self, x, A):
        return A.dot(x) - self.gains(x, A).sum(2).flatten(2).topk(self.eps + 1).values.sum(-1)


class NominalCanOnlyRise(Pixels):
    """Forgets that a pixel can be made darker, too."""

    def gains(self, x, A):
        return (-A.to_dense()).clamp(min=0) * (1 - x)


SETS: dict[str, tuple[Any, str, str]] = {
    "scalars counted as pixels": (CountsScalars(1), "concretize", "exceeds the form at a member"),
    "one pixel too many": (CountsOneMore(1), "exact", "not attained"),
    "pixels only rise": (NominalCanOnlyRise(1), "concretize", "exceeds the form at a member"),
    "wrong dual norm": (WrongDualNorm(0.5, 1), "exact", "not attained"),
    "dual norm of infinity for 1": (
        WrongDualNorm(0.5, math.inf),
        "concretize",
        "exceeds the form at a member",
    ),
    "dual norm off for 3": (WrongDualNorm(0.5, 3), "concretize", "exceeds the form at a member"),
    "nominal part forgotten": (NominalForgotten(0.5, 2), "concretize", "exceeds|below"),
    "box forgotten": (BoxForgotten(0.5, 2, x_L=0.0, x_U=1.0), "concretize", "below that over the hull"),
    "box instead of ball": (BoxInsteadOfBall(0.5, 2), "exact", "not attained"),
    "smallest radius for all": (SameRadiusForAll(torch.tensor([0.1, 0.2, 0.3]), 2), "concretize", "exceeds"),
    "claims to be a box": (ClaimsToBeABox(0.5, 2), "concretize", "exceeds the form at a member"),
    "hull too small": (HullTooSmall(0.5, 2), "sample", "not contained"),
    "samples outside": (SamplesOutside(0.5, 2), "sample", "not contained"),
    "contains everything": (ContainsEverything(0.5, 2), "contains", "far outside"),
    "projection moves members": (ProjectsHalfway(0.5, 2), "project", "project moves"),
    "projection onto the hull": (ProjectsToTheBox(0.5, 2), "project", "a projected point is not contained"),
    "NaN for zero rows": (NanAtZeroRows(0.5, 2), "concretize", "not finite"),
    "half of the gradient": (ConstantRadius(0.5, 2), "differences", "is not its central difference"),
    "NaN gradient for zero rows": (NanGradientAtZeroRows(0.5, 2), "gradients", "by A is not finite"),
    "hull of one example": (HullOfOneExample(0.5, 1), "hull", "not like x"),
    "hull crossed": (HullCrossed(0.5, 1), "hull", "exceeds the upper end"),
    "generator ignored": (GeneratorIgnored(0.5, 2), "sample", "same generator"),
    "projects in place": (ProjectsInPlace(0.5, 2), "project", "in place"),
    "shared coefficients": (SharedByAll(0.5, 2), "structures", "shared coefficients"),
    "always float64": (AlwaysDouble64(0.5, 2), "float32", "torch.float64"),
    "dense only": (DenseOnly(0.5, 2), "structures", "structured coefficients"),
}
