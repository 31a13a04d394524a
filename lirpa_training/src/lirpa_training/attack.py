"""Adversarial examples by projected gradient ascent, for any perturbation (Madry et al. 2018)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_core.errors import OptionError
from lirpa_core.perturbations import Perturbation


@dataclass(frozen=True)
class PGD:
    """Projected gradient ascent on the loss.

    From Madry et al. 2018, "Towards deep learning models resistant to adversarial attacks", section 2.1.

    Attributes:
        steps: Gradient steps.
        step_size: Length of a step, relative to the perturbation's radius.
        restarts: How often to start anew; the worst point of all counts.
        random_start: Whether to start at a random member of the set or at its centre.

    Raises:
        OptionError: For a number that is not positive.
    """

    steps: int = 8
    step_size: float = 0.25
    restarts: int = 1
    random_start: bool = True

    def __post_init__(self) -> None:
        for name in ("steps", "step_size", "restarts"):
            if not getattr(self, name) > 0:
                raise OptionError(f"PGD: {name}={getattr(self, name)!r} must be positive.")

    def __call__(
        self,
        loss: Callable[[Tensor], Tensor],
        x: Tensor,
        perturbation: Perturbation,
        *,
        inside: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """The worst members of the set that were found.

        Args:
            loss: From members `[B, *S]` to the loss of each example, `[B]`.
            x: Nominal value `[B, *S]`.
            perturbation: The set around it, its tensors laid out examples first.
            inside: A smaller set to stay in, as a projection `[B, *S]` to `[B, *S]`.

        Returns:
            `[B, *S]`, without gradient history.
        """
        x = x.detach()
        radius = perturbation.hull(x).width.detach() / 2  # [B, *S]
        best, value = x, loss(x).detach()
        for _ in range(self.restarts):
            z = perturbation.sample(x, 1)[0] if self.random_start else x
            z = z if inside is None else inside(z)
            for _ in range(self.steps):
                z = z.detach().requires_grad_()
                (gradient,) = torch.autograd.grad(loss(z).sum(), z)
                z = z.detach() + self.step_size * _direction(gradient, radius, perturbation)
                z = perturbation.project(x, z.unsqueeze(0))[0]
                z = z if inside is None else inside(z)
            found = loss(z).detach()
            better = found > value
            best = torch.where(better.reshape(-1, *[1] * (x.dim() - 1)), z.detach(), best)
            value = torch.where(better, found, value)
        return best


def _direction(gradient: Tensor, radius: Tensor, perturbation: Perturbation) -> Tensor:
    """Steepest ascent: in a box by the signs, else along the gradient, as long as the set is wide."""
    if perturbation.is_box:
        return gradient.sign() * radius
    flat = gradient.flatten(1)
    length = flat.norm(dim=1).clamp(min=torch.finfo(flat.dtype).tiny)
    scale: Tensor = radius.flatten(1).amax(1) / length
    return gradient * scale.reshape(-1, *[1] * (gradient.dim() - 1))
