"""A threat model: the brightness of an example changes, by the same amount at every element."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from lirpa_core import Interval, Perturbation
from lirpa_core.errors import PerturbationError
from lirpa_core.linear.coefficients import Coefficients
from torch import Tensor


@dataclass(frozen=True)
class PerturbationBrightness(Perturbation):
    """All `x + t` with one number `|t| <= eps` for each example.

    Attributes:
        eps: The largest change.
    """

    eps: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.eps) and self.eps >= 0):
            raise PerturbationError(f"eps must be finite and not negative, but is {self.eps}")

    @property
    def is_box(self) -> bool:
        return False

    def validate(self, x: Tensor) -> None:
        if not x.is_floating_point():
            raise PerturbationError(f"only floating point tensors can be perturbed, x has dtype {x.dtype}")

    def hull(self, x: Tensor) -> Interval:
        return Interval(x - self.eps, x + self.eps)

    def concretize(self, x: Tensor, A: Coefficients) -> Tensor:
        return A.dot(x) - self.eps * A.dot(torch.ones_like(x)).abs()

    def sample(self, x: Tensor, n: int, generator: torch.Generator | None = None) -> Tensor:
        t = 2 * torch.rand(n, x.shape[0], dtype=x.dtype, device=x.device, generator=generator) - 1
        t[:2] = torch.tensor([[-1.0], [1.0]], dtype=x.dtype, device=x.device)[:n]
        return x.detach() + self.eps * _like(t, x)

    def contains(self, x: Tensor, z: Tensor) -> Tensor:
        slack = 32 * torch.finfo(x.dtype).eps * (x.abs().amax() + self.eps)
        change = (z - x).flatten(2)
        least, greatest = change.amin(-1), change.amax(-1)
        return (greatest - least <= 2 * slack) & (least >= -self.eps - slack) & (greatest <= self.eps + slack)

    def project(self, x: Tensor, z: Tensor) -> Tensor:
        t = (z - x).flatten(2).mean(-1).clamp(-self.eps, self.eps)
        return x + _like(t, x)


def _like(t: Tensor, x: Tensor) -> Tensor:
    """One number an example, `[n, B]`, with the rank that broadcasts to `[n, B, *S]`."""
    return t.reshape(*t.shape, *[1] * (x.dim() - 1))
